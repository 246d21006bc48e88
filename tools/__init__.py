"""Tools for maintainers. Nothing here is installed with Flash."""
