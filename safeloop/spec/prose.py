"""Warnings about `done_looks_like`: a guess about English prose, never a refusal.

A warning is printed and never asked about. It errs towards silence: one that is often wrong is soon read by
nobody.
"""

from __future__ import annotations

import re


def warnings_of(done_looks_like: str) -> tuple[str, ...]:
    """Say what a reviewer may stumble over who must compare an outcome with this sentence; empty if nothing.

    More than one sentence: a full stop, exclamation or question mark with another word behind it, or a
    blank line. Common abbreviations and initials do not end a sentence; a dot inside a word never does.

    Nothing observable: no digit, no file name or path, nothing in quotes, and none of the English words
    (`_STEMS`) for things and events that somebody can see. Other languages are read only by their digits,
    names and quotes.
    """
    found = []
    if _has_second_sentence(done_looks_like):
        found.append("done_looks_like looks like more than one sentence: a reviewer compares with one")
    if not _names_something_observable(done_looks_like):
        found.append("done_looks_like names nothing to be seen: a file, a number, a quoted text, a result")
    return tuple(found)


_ABBREVIATIONS = frozenset(
    ("al", "approx", "bzw", "ca", "cf", "d.h", "dr", "e.g", "eg", "etc", "fig", "i.e", "ie", "inc", "incl",
     "ltd", "max", "min", "mr", "mrs", "ms", "nr", "p", "pp", "resp", "sec", "st", "u.s", "usw", "vs", "z.b")
)  # "no" is not among them: a sentence may end in it
_OPENING = "\"'([\u2018\u201c\u00ab"  # with the curved quotes and the guillemet
_CLOSING = "\"')]\u2019\u201d\u00bb"
_CJK_ENDS = "\u3002\uff01\uff1f"  # full stop, exclamation and question mark, written without a space
_CJK_CLOSING = "\u300d\u300f\uff09"


def _has_second_sentence(text: str) -> bool:
    text = text.strip()
    if any(not line.strip() for line in text.splitlines()):
        return True
    if any(end in text.rstrip(_CJK_ENDS + _CJK_CLOSING) for end in _CJK_ENDS):
        return True
    words = text.split()
    while words and not any(map(str.isalnum, words[-1])):
        words.pop()  # a dash or a mark that stands alone at the end starts no sentence
    return any(_ends_sentence(word) for word in words[:-1])


def _ends_sentence(word: str) -> bool:
    bare = word.rstrip(_CLOSING)
    if not bare.endswith((".", "!", "?", "\u2026")):
        return False
    stem = bare[:-1].lstrip(_OPENING).casefold()
    initial = len(stem) == 1 and stem.isalpha()
    return not (bare.endswith(".") and (initial or stem in _ABBREVIATIONS))


_NAMED = re.compile(
    r"""\d                                    # a count, a date, a version
    | [\w-]\.[A-Za-z][A-Za-z0-9]{0,9}\b       # a file name
    | \w/\w | (?<!\S)[.~]?/\w                 # a path
    | "[^"]+" | `[^`]+` | (?<!\w)'[^']+'      # quoted text, straight
    | \u201c[^\u201c\u201d]+\u201d | \u2018[^\u2018\u2019]+\u2019 | \u00ab[^\u00ab\u00bb]+\u00bb
    | \u300c[^\u300c\u300d]+\u300d            # quoted text, as other scripts and editors do it
    """,
    re.VERBOSE,
)
_STEMS = """
    alert answer appear archive article attach badge banner branch build button cell chart check
    checksum close column comment commit compile contain copy count crash create csv dashboard database
    delete deploy diff directory disappear display document download draft email empty end entry error
    exist exit fail fault field file finding folder graph halt header heading html image index issue
    json label line link list load log mail match merge message metadata missing move notify number open
    output page paragraph parse pass path pdf percent post present print publish query receive record
    redirect reject release remain remove rename render reply report request resolve respond response
    result return row save score screen screenshot section send sentence show sort spreadsheet start
    stop string summarise summarize summary table tag test text ticket timestamp title total translate
    translation unchanged update upload url value verify version warning word write
"""
_IRREGULAR = """
    eight five four gone held kept made nine none nothing one sent seven shown six ten three two written
    wrote zero
"""


def _forms(stem: str) -> tuple[str, ...]:
    """The stem as English bends it, without asking which of the forms are words."""
    plain = tuple(stem + ending for ending in ("", "s", "es", "d", "ed", "ing"))
    bent = tuple(stem[:-1] + ending for ending in ("ing", "ies", "ied"))
    return (*plain, *bent, f"{stem}{stem[-1]}ed", f"{stem}{stem[-1]}ing")


_OBSERVABLE = frozenset(form for stem in _STEMS.split() for form in _forms(stem))
_OBSERVABLE |= frozenset(_IRREGULAR.split())


def _names_something_observable(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+", text.casefold())
    return _NAMED.search(text) is not None or not _OBSERVABLE.isdisjoint(words)
