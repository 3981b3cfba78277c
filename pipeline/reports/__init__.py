"""Statistics, tables and figures made from results; no training and no tracking."""
