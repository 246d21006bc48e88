"""Runs streams, and keeps what a page has still to be sent. Trio only: nothing here knows of HTTP, Dash or Quart."""
