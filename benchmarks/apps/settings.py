"""What the benchmarks and the apps that they serve agree on."""

STREAMS = 10
"""How many a page of the app with many streams can have."""

COMPONENTS = 20
"""How many a page in a browser shows."""

RATE = 100
"""Updates per second of each of them."""

PATCH_RATE = 20
"""Patches per second, to another."""

RUSH = 10
"""How many times as fast the streams of several workers tick at saturation."""
