"""The parts of the stage `search`: what it is told, its generations, its last check, and what it shows of them."""
