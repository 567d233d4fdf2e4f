"""The library checks itself: identities, closed forms, error rates, published numbers, and traps.

The checks use the public names of `cftransfer`, like a user; `error_rates` and `measuring_traps` say where no public
name exists. `cftransfer validate` prints the table (docs/reference/validate.md).
"""
