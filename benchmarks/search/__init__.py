"""A paired benchmark of whole hyperparameter searches: `python -m benchmarks.search`."""
