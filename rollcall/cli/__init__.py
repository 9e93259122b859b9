"""The command line: one file a group of commands.

Importing it loads typer, rich and the standard library only; a command imports what it needs when it runs, so that `--help` is quick.
"""

from rollcall.cli.door import main

__all__ = ["main"]
