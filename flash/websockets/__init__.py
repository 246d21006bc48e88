"""Dash's callbacks over websockets, and the websocket for Flash's own requests."""
