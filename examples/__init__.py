"""Apps that show what Flash does."""
