"""Runs the command `flash` for `python -m flash`, as in `python -m flash run module:app`."""

from .command_line import main

main()
