"""The ledger room, attacked."""
