"""Dash's side of a stream: its declaration, and the request that starts it."""
