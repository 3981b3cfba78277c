"""The stages: prepare, cross_validate, search, evaluate, compare; one file each, and `main` that runs them in order.

A stage takes a frozen config, a tracker and a reporter. Its `inputs` finds everything that can be wrong with the config
before any run begins; its `run` opens one run, works, and returns what the terminal shows.
"""
