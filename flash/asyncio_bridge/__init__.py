"""Callbacks that are written for asyncio, on Trio."""
