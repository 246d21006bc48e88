"""Serves the websockets of an app: Dash's, for callbacks, and Flash's control websocket, for requests of a page."""
