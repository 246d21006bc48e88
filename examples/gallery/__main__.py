"""Serve the gallery: `python -m examples.gallery`, with HOST and PORT in the environment to serve it elsewhere."""

import os

from .app import app

host = os.environ.get("HOST", "127.0.0.1")
port = int(os.environ.get("PORT", "8050"))
print(f"The gallery is on http://{host}:{port}", flush=True)
app.run(host=host, port=port)
