"""Names in stores that are older than the words used now: what was stored under them stays readable and resumes."""

from __future__ import annotations

STREAM = "pairs"
"""In the names of all draws of samples: what was measured with a seed can be drawn again."""
SAMPLES, TEST_SAMPLES, SCREEN_SAMPLES = "pairs", "test_pairs", "screen_pairs"
"""Params of runs, and parts of a study's protocol and of its trials: how many samples a round has."""
OLD_OPTIONS = {
    "--train-size": ("--samples", "--pairs"),
    "--test-samples": ("--test-pairs",),
    "--screen-samples": ("--screen-pairs",),
}
"""What options of the command line were called."""
TRIAL_BATCH = "generation"
"""Part of what a study knows of a trial: which trials were asked for, and trained, together."""
SIGNIFICANT_DIGITS = "digits"
"""In search space files, and in the digest of a space, by which studies are named."""
PAPER = "report"
"""The tag of a run for where its variant comes from."""
