"""Every attack, by name."""

from __future__ import annotations

from tests.attacks import anchors, deeds, lies, order, places, rows, spending, words
from tests.attacks.attack import CORPUS

__all__ = ["CORPUS", "anchors", "deeds", "lies", "order", "places", "rows", "spending", "words"]
