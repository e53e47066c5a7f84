"""A page's HTML, read in a process of its own: see `page` for why and how."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from safeloop.tools.fetching.failure import NotReadable

READING_S: Final = 12.0
"""Seconds on the wall for reading one page; the process's own limit of CPU comes a little before."""

HTML_CHARACTERS: Final = 1_000_000
"""Of a page that are read; a long page takes about two seconds."""

_PROGRAM: Final = Path(__file__).with_name("page.py")


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader sees of a page; each may be empty.

    Args:
        title: On one line.
        description: Of its `meta`, on one line.
        canonical: Where it says that it really lives.
        text: Its lines.
    """

    title: str
    description: str
    canonical: str
    text: str


def can_read() -> bool:
    """Say whether the library is installed that reads HTML."""
    return find_spec("bs4") is not None


def read_page(html: str, *, seconds: float = READING_S) -> Page:
    """Read a page.

    Raises:
        NotReadable: It cannot be read within the limits.
    """
    try:
        done = subprocess.run(  # noqa: S603 (our own program; the page comes in through a pipe)
            [sys.executable, "-P", str(_PROGRAM)],
            input=html.encode("utf-8", "replace"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            # Nothing of the caller's: a page that took the process over would find no key in its environment.
            env={}, cwd="/", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotReadable(f"the page could not be read within {seconds:g} seconds") from error
    if done.returncode != 0:
        raise NotReadable("the page could not be read: it takes too much time or memory, or is no HTML")
    return Page(**json.loads(done.stdout))
