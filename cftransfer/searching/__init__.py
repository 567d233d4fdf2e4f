"""The engine of a search: code that methods share, and the second opinion on their proposals.

The package is not called `search`, because `cftransfer.search` is a function.
"""
