"""Connects streams with Dash: checks their declarations, and starts them by callback requests."""
