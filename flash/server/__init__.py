"""Serves an app: Dash's backend on Quart-Trio, Hypercorn, reloading, metrics."""
