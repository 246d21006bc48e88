"""Runs callbacks that are written for asyncio, beside Trio."""
