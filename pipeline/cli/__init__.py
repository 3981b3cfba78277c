"""The command line: commands, the options that they share, the terminal, and the viewers that it opens."""

from pipeline.cli.commands import main

__all__ = ["main"]
