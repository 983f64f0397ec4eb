"""One file = one serving target: `promote(candidate, *, options…) -> list[str]` proves, then moves the alias;
`rollback(alias, name, guard, *, options…) -> list[str]` points the alias back at a version that is there. What goes over the
network passes the guard.
"""
