"""HTTP underneath the routes: one exchange, its body, what proves who sent it, and writing past Quart."""
