"""The text of a body, by the charset that it declares, if that is one that browsers know.

Python's registry of codecs also has `zip`, `punycode`, `unicode_escape`, `utf-7` and others that are slow, not text,
or a way to smuggle; so only those of the WHATWG Encoding Standard are taken, by Python's own names.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

_NAMES: Final = """
utf-8 utf-16 utf-16-le utf-16-be ascii big5 big5hkscs cp866 cp874 cp932 cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255
cp1256 cp1257 cp1258 euc_jp euc_kr gb18030 gb2312 gbk iso2022_jp iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5
iso8859-6 iso8859-7 iso8859-8 iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-cyrillic
mac-roman shift_jis
"""
_KNOWN: Final = frozenset(_NAMES.split())
# The standard reads these labels as what includes them.
_WIDER: Final = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gbk", "shift_jis": "cp932", "euc_kr": "cp949"}
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"<meta[^>]{0,200}charset\s{0,5}=\s{0,5}[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_META_WITHIN: Final = 1_024  # bytes: where HTML's own rule looks for it


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body's text.

    Args:
        text: What cannot be read is U+FFFD.
        charset: The one that it was read by.
        is_guess: It was not declared, or what was declared is none that is known.
    """

    text: str
    charset: str
    is_guess: bool


def decoded(body: bytes, declared: str | None, *, is_html: bool) -> Decoded:
    """Decode a body; it never fails.

    A byte order mark decides, then the header, then HTML's own `meta`, then UTF-8.
    """
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return Decoded(body[len(mark) :].decode(charset, "replace"), charset, is_guess=False)
    known = _known(declared) or (_known(_in_meta(body)) if is_html else None)
    charset = known or "utf-8"
    return Decoded(body.decode(charset, "replace"), charset, is_guess=known is None)


def _known(label: str | None) -> str | None:
    """Give Python's name of a charset that may be used; None for any other, whatever it is called."""
    try:
        name = codecs.lookup((label or "").strip()).name
    except (LookupError, ValueError):  # ValueError: a NUL, or a letter that no codec's name has
        return None
    return _WIDER.get(name, name) if name in _KNOWN else None


def _in_meta(body: bytes) -> str | None:
    found = _META.search(body[:_META_WITHIN])
    label = found.group(1).decode("ascii") if found else None
    # HTML's own rule: a document whose `meta` could be read as ASCII is no UTF-16.
    return "utf-8" if label and label.lower().startswith("utf-16") else label
