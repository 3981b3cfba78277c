"""The parts of the command `reproduce`: what the reports print, and what stands beside it."""
