"""Models that a person brings: classes, functions that make networks, and estimators."""
