"""Serves an app with several processes: which one holds a browser, and how requests reach it."""
