"""The engine of a search: what methods share, and the second opinion on what they propose.

The package is not called `search` because the function is: `cftransfer.search` cannot be both.
"""
