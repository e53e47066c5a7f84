"""The page: one file that shows a session or a whole ledger, and verifies it in the reader's own browser."""
