"""What stands between Flash and its users' code: running it, cleaning up, reading its mistakes. Trio only."""
