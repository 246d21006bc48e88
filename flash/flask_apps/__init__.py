"""Serves a Flask app, which has a Flash app's routes among its own: `Flash(server=flask_app)`."""
