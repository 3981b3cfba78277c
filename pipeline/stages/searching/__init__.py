"""The parts of the stage `search`: what it is told, its batches, its last check, and what it shows of them."""
