"""Search: spaces as data, the study that is the record of a search, and pruning. The only importer of Optuna."""
