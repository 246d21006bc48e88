"""HTTP beneath the routes: one exchange, its body, the checks of who sent it, and direct writes to its socket."""
