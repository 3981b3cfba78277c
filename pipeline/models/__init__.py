"""The model variants: what each one is, what it is built of, and where it comes from."""
