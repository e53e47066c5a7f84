"""Every attack, by name."""

from __future__ import annotations

from tests.attacks import anchors, deeds, families, lies, order, places, rows, spending, tables, words
from tests.attacks.attack import CORPUS

__all__ = ["CORPUS", "anchors", "deeds", "families", "lies", "order", "places", "rows", "spending", "tables", "words"]
