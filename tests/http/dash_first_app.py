"""`served_app.py` after Dash's own Quart backend has been imported, which installs signal handlers in Dash 4.5."""

from __future__ import annotations

import sys

import dash.backends._quart

import served_app  # isort: skip

assert dash.backends._quart
served_app.app.run(port=int(sys.argv[1]))
