"""Digits in, samples out: sources, the cached pools of 14x14 digits, points, rounds and folds."""
