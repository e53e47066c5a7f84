"""Rows, what is signed, the Merkle tree, the head, keys, content and the SQLite store."""

from safeloop.ledger.content import Content
from safeloop.ledger.encoding import encode, parse
from safeloop.ledger.ledger import Ledger, LedgerRow, View
from safeloop.ledger.rows import Draft, Row
from safeloop.ledger.visible import escaped, visible

__all__ = ["Content", "Draft", "Ledger", "LedgerRow", "Row", "View", "encode", "escaped", "parse", "visible"]
