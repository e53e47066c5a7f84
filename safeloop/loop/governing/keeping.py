"""What an intent keeps of a request: its parameters and messages, each committed to once in a session."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from safeloop.ledger import Content
from safeloop.ledger.content import JSON, manifest
from safeloop.loop.governing.asked import Asked
from safeloop.models.shapes import compact_json

Commitments = dict[bytes, dict[str, Any]]


class Kept:
    """What a session's intents have committed to so far.

    Args:
        make_content: Gives bytes a fresh salt.
    """

    def __init__(self, make_content: Callable[[bytes, str], Content]) -> None:
        self._make_content = make_content
        self._kept: Commitments = {}

    def committed(self, asked: Asked) -> tuple[tuple[Content, ...], Commitments]:
        """Return what an intent must keep, its manifest last, and what of it is new.

        The manifest names the request's parameters first, then its messages.
        """
        fresh: Commitments = {}
        contents, entries = [], []
        for part in (asked.parameters, *asked.request.messages):
            data = compact_json(part)
            digest = hashlib.sha256(data).digest()
            commitment = self._kept.get(digest) or fresh.get(digest)
            if commitment is None:
                content = self._make_content(data, JSON)
                contents.append(content)
                commitment = fresh[digest] = content.commitment
            entries.append(commitment)
        return (*contents, self._make_content(manifest(entries), JSON)), fresh

    def mark(self, fresh: Commitments) -> None:
        """Note that this is durable."""
        self._kept |= fresh
