"""Asks references about counterfactuals; turns answers into long tables, rates, intervals and trends.

The package is not called `measure` because the function is: `cftransfer.measure` cannot be both.
"""
