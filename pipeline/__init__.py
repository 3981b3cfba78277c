"""Compare model variants honestly: prepare, cross-validate, search, evaluate, compare, all tracked in MLflow."""

__version__ = "0.1.0"
"""Of this code; the only place that says it."""
