"""Searches for counterfactuals: one file per method, and the engine around them (search.py).

A method is one function, `method(model, x, target, *, space, …)` → x′, done, iterations. References are none of its
business.
"""
