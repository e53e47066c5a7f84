"""Attacks on a ledger, each with the keys that it needs and the exact finding that it must meet."""
