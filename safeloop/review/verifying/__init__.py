"""Checking a receipt, a checkpoint, a consistency proof or a released bundle offline, without a ledger."""
