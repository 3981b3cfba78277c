"""One file a family; a file's `VARIANTS` are its rows. See CONTRIBUTING.md for how to add one."""
