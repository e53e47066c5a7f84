"""What an operator does with a whole ledger: adopt, import, copy, erase, and change its keys."""
