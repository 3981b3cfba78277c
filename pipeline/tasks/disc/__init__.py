"""Points of the unit square: inside of a disc, or not? By a framework from scratch (report 004, part 2)."""
