"""Runs the code of Flash's users: calls it, contains and reads what it raises, and lets it clean up. Trio only."""
