"""One source of values, and many that follow it: `@feed`."""
