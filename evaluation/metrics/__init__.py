"""One file = one score. `score(answer, reference)` for an item, or `aggregate(answers, references)` over all of them.

APPLIES says to what: "label" or "text". PERFECT and WORTHLESS are examples the contract test checks.
"""
