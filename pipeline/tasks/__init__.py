"""The tasks, a room for each: what is learned, from which data, by which variants, and how it is measured and shown."""
