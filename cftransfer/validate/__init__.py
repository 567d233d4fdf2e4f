"""The library checks itself: identities, closed forms, error rates, published numbers, and traps.

The checks use the public names of `cftransfer`, like a user; `error_rates`, `measuring_traps` and `identities` import
the few things that have no public name. `cftransfer validate` prints the table (docs/reference/validate.md).
"""
