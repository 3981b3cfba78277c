"""A paired benchmark of the replica engine against what people use instead: `python -m benchmarks`."""
