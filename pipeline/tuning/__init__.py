"""Search: spaces as data, the study that is the record of a search, and pruning. The only importer of Optuna."""

import optuna

# What Optuna would tell on standard error, the stages tell in their own words.
optuna.logging.set_verbosity(optuna.logging.WARNING)
