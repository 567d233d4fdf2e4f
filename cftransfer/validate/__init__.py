"""The library checks itself: identities, closed forms, error rates, published numbers, and traps.

It speaks through the public names of `cftransfer`, as a user would; `error_rates` and `measuring_traps` say where no
public name exists. `cftransfer validate` prints the table (docs/reference/validate.md).
"""
