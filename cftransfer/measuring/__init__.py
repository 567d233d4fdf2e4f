"""References are asked about counterfactuals; their answers become long tables, rates, intervals and trends.

The package is not called `measure` because the function is: `cftransfer.measure` cannot be both.
"""
