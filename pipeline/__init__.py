"""Compare model variants honestly: prepare, cross-validate, search, evaluate, compare, all tracked in MLflow."""
