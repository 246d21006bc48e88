"""What stands between Flash and the code of its users: running it, cleaning up after it, reading its mistakes. Trio only."""
