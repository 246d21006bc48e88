"""Flash in browsers of three engines: Chromium, Firefox and WebKit. What depends on the engine is tested here."""
