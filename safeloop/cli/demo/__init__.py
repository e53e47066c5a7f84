"""`safeloop demo`: the whole walk in a folder of its own, without a key and without a model."""
