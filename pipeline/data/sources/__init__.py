"""Data sets that any task can learn from, by name."""
