"""The gallery: four tabs, one file each, that show what an event callback can do."""
