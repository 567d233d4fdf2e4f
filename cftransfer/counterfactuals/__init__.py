"""Search methods and nothing else, one file each.

A method is a function of all rows at once, `method(model, x, target, *, constraint, …) → Candidates`. It never knows
the references; `searching.judging` has the last word on what it proposes.
"""
