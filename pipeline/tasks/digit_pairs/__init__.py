"""Pairs of 14x14 digits: is the first lesser than or equal to the second? Five reports, and the 37 systems in them."""
