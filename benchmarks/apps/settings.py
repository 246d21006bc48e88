"""What the benchmarks and the apps that they serve agree on."""

STREAMS = 10
"""How many a page of the app with many streams can have."""
