"""Reconciliation: what the provider says was billed, beside what the ledger says was called. Pure, but for its rows."""
