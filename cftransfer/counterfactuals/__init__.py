"""Search methods and nothing else, one file each.

A method is a function of all rows at once, `method(model, x, target, *, constraint, …) → Candidates`. It never sees the
references, and `searching.judging` decides which of its proposals count.
"""
