"""The page of safeloop report: how much longer its verifier takes than the browser's own signature checks alone.

Both run in one page of one browser, on the same rows: all that the verifier does, from reading the page to the marks
and the verdict, beside nothing but `crypto.subtle.verify` of bytes that lie ready.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from safeloop.ledger.trust import load_trust
from tests.bench.building import Built
from tests.bench.measure import Measure
from tests.review.reporting.browser import Browser, Page, chromium
from tests.review.reporting.made import page_of_ledger

MOST_TIMES = 3.0

_SIGNATURES_ALONE = """
(async () => {
  const data = JSON.parse(document.getElementById("safeloop-data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  const writer = await crypto.subtle.importKey("raw", bytes(data.writers[0]), { name: "Ed25519" }, false, ["verify"]);
  const rows = [...document.querySelectorAll("details.row pre")].map((body, at) => {
    const stored = new TextEncoder().encode(body.textContent);
    const prefix = `DSSEv1 36 application/vnd.safeloop.row.v1+json ${stored.length} `;
    return [bytes(data.rows[at][1]), new Uint8Array([...new TextEncoder().encode(prefix), ...stored])];
  });
  const start = performance.now();
  const verified = await Promise.all(rows.map(([sig, message]) => crypto.subtle.verify("Ed25519", writer, sig, message)));
  const took = performance.now() - start;
  return [took, verified.filter((each) => each).length];
})()
"""


@contextlib.contextmanager
def showing(folder: Path, built: Built) -> Iterator[tuple[Measure, ...]]:
    """Return what a page costs its reader; nothing where there is no chromium."""
    if chromium() is None:
        yield ()
        return
    with contextlib.ExitStack() as stack:
        opened = _Opened(folder, built, stack)
        yield (
            Measure(f"page of {built.rows:,} rows verifies", "its signatures alone, by WebCrypto", opened.verify,
                    opened.signatures_alone, inverted=False, floor=MOST_TIMES),
        )  # fmt: skip


class _Opened:
    """The page in its browser, from the first time that it is wanted."""

    def __init__(self, folder: Path, built: Built, stack: contextlib.ExitStack) -> None:
        self._file, self._built, self._stack = folder / "page.html", built, stack
        self._page: Page | None = None

    def verify(self) -> float:
        page = self._shown()
        page.value("performance.clearMeasures(); document.getElementById('verify').click()")
        page.until("performance.getEntriesByName('safeloop verification').length === 1")
        page.until("!document.getElementById('verify').disabled")
        assert page.value("document.getElementById('verdict').dataset.state") == "own"
        return float(page.value("performance.getEntriesByName('safeloop verification')[0].duration")) / 1_000

    def signatures_alone(self) -> float:
        took, verified = self._shown().value(_SIGNATURES_ALONE, wait=True)
        assert verified == self._built.rows
        return float(took) / 1_000

    def _shown(self) -> Page:
        if self._page is None:
            text = page_of_ledger(self._built.path, load_trust(self._built.keys / "self"))
            self._file.write_text(text, encoding="utf-8")
            self._page = self._stack.enter_context(Browser()).open(self._file.as_uri())
            self._page.until("!document.getElementById('verify').disabled")
        return self._page
