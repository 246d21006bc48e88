"""Shows in a page of its own what a server runs: `_flash/inspect`, an app of Flash's beside the app itself."""
