"""The stages: prepare, cross_validate, search, evaluate, compare; one file each, and `main` that runs them in order.

A stage takes a frozen config, a tracker and a reporter, checks everything that can be checked before its run begins,
and returns what the terminal shows.
"""
