"""`python -m flash run module:app`."""

from .command_line import main

main()
