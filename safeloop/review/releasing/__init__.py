"""The gate, the bundle, and its place."""
