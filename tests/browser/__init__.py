"""Flash in a real browser: Chromium on one side, Hypercorn's trio worker on the other."""
