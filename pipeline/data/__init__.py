"""What is trained on: data sets of items, rounds of samples drawn from them, and folds of rounds."""
