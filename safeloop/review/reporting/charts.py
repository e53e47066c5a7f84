"""Charts, drawn on the server by pygal as SVG that needs neither script nor style of its own.

pygal writes a configuration script, a style sheet, links, tooltips and style attributes into every chart, and by
default names a script on another host. None of it may stand in a page without network and with styles by hash: the
drawing is taken over element by element, and only what is listed here, so that nothing of it can be forgotten. The
page's own style sheet colours the classes that remain, in light and dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

from safeloop.review.reporting.markup import words
from safeloop.spec.units import usd_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAGS = frozenset({"svg", "g", "path", "rect", "circle", "text"})
_ATTRIBUTES = frozenset({
    "class", "viewBox", "transform", "d", "x", "y", "rx", "ry", "width", "height", "r", "cx", "cy", "text-anchor",
})  # fmt: skip
_CLASSES = frozenset({
    "background", "axis", "x", "y", "line", "guides", "guide", "rect", "legend", "horizontal",
    "color-0", "color-1", "color-2",
})  # fmt: skip
"""Those that the page's style sheet knows; the verifier lets no other stand in a drawing."""
_LEFT_OUT = frozenset({"tooltip", "tooltip-overlay", "text-overlay"})
_MOST_LABELS = 12
_MOST_STEPS = 8
_MOST_DOTS = 40
_LARGEST_TEXT = 16
_WIDTH = 600
_HEIGHT = 260
_BAR_HEIGHT, _AROUND_BARS = 34, 70
_FREE = 0.3  # of a bar's place, above it and below it
_WHOLE = 100  # percent


class Unit(Enum):
    """What the figures of a chart are."""

    COUNT = "count"
    MICROUSD = "microusd"
    PERCENT = "percent"

    def text(self, figure: float) -> str:
        """Say a figure in its unit; money in dollars."""
        match self:
            case Unit.MICROUSD:
                return usd_text(int(figure))
            case Unit.PERCENT:
                return f"{int(figure)} %"
            case Unit.COUNT:
                return f"{int(figure):,}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a figure for each label."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, and what is said to those who do not see it.

    Attributes:
        identity: Of ours, unique in the page.
        title: What it shows.
        description: What can be read from it, in words.
        labels: Along the axis.
        lines: The figures.
        is_bars: A bar for each label; else lines over the labels.
        unit: Of all figures. A chart of percents reaches from 0 to 100 at least: a bar shows its part of the whole.
    """

    identity: str
    title: str
    description: str
    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    is_bars: bool = False
    unit: Unit = Unit.COUNT


def can_draw() -> bool:
    """Say whether the extra is installed."""
    return _pygal() is not None


def draw(chart: Chart) -> str:
    """Return a chart as a figure with title and description; empty where pygal is not installed."""
    pygal = _pygal()
    if pygal is None:
        return ""
    root = _plain(_drawn(pygal, chart).render_tree())
    identity = chart.identity
    root.attrib.update({"role": "img", "aria-labelledby": f"{identity}-title {identity}-text", "focusable": "false"})
    for tag, name, text in (("desc", "text", chart.description), ("title", "title", chart.title)):
        said = Element(tag, {"id": f"{identity}-{name}"})
        said.text = text
        root.insert(0, said)
    return f"<figure><figcaption>{words(chart.title)}</figcaption>{tostring(root, encoding='unicode')}</figure>"


def _pygal() -> Any:
    try:
        return import_module("pygal")  # an extra, without types: where it is missing the page has its tables
    except ImportError:
        return None


def _drawn(pygal: Any, chart: Chart) -> Any:
    count = len(chart.labels)
    # Room for labels as large as the page writes them on a small screen; sizes and colours themselves are the page's.
    sizes = dict.fromkeys(("label_font_size", "major_label_font_size", "legend_font_size"), _LARGEST_TEXT)
    common = {
        "style": import_module("pygal.style").Style(**sizes), "js": (), "no_prefix": True,
        "legend_at_bottom": True, "legend_at_bottom_columns": len(chart.lines),
        "truncate_legend": -1, "truncate_label": -1, "show_legend": len(chart.lines) > 1, "include_x_axis": True,
        "margin": 12, "margin_right": 26, "legend_box_size": 12,
        "width": _WIDTH, "height": _AROUND_BARS + _BAR_HEIGHT * count if chart.is_bars else _HEIGHT,
    }
    if chart.is_bars:
        drawing = pygal.HorizontalBar(**common)
        drawing._series_margin = _FREE  # no option of pygal's names it
        drawing.x_labels = list(chart.labels[::-1])  # pygal draws from the foot up
    else:
        drawing = pygal.Line(**common, show_dots=count <= _MOST_DOTS, dots_size=3, show_minor_x_labels=False)
        drawing.x_labels = list(chart.labels)
        drawing.x_labels_major = _spread(chart.labels)
    marks = _marks(chart)
    drawing.y_labels, drawing.range = marks, (marks[0], marks[-1])
    drawing.value_formatter = chart.unit.text
    for line in chart.lines:
        drawing.add(line.name, list(line.values[::-1] if chart.is_bars else line.values))
    return drawing


def _marks(chart: Chart) -> list[int]:
    """Return what is written along the axis of the figures: the first is its beginning, the last its end."""
    most = max((value for line in chart.lines for value in line.values), default=0)
    return _scale(max(most, _WHOLE) if chart.unit is Unit.PERCENT else most)


def _scale(most: int) -> list[int]:
    """Return whole numbers from 0 to beyond the largest figure, in steps of 1, 2 or 5 times a power of ten."""
    step = 1
    while most > step * _MOST_STEPS:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, most + step, step))


def _spread(labels: Sequence[str]) -> list[str]:
    """Return the labels that are written out where there is no room for all."""
    every = -(-len(labels) // _MOST_LABELS)
    return list(labels[::every])


def _plain(source: Any, parent: Element | None = None) -> Element:
    """Copy what is listed, and nothing else; the words go through the serializer, which escapes them."""
    kept = {key: str(value) for key, value in source.attrib.items() if key in _ATTRIBUTES}
    known = [each for each in kept.pop("class", "").split() if each in _CLASSES]
    if known:
        kept["class"] = " ".join(known)
    name = str(source.tag).rpartition("}")[2]
    own = Element(name, kept) if parent is None else SubElement(parent, name, kept)
    own.text = source.text if name == "text" else None
    for child in source:
        tag = str(child.tag).rpartition("}")[2] if isinstance(child.tag, str) else ""
        if tag in _TAGS and _LEFT_OUT.isdisjoint(str(child.get("class", "")).split()):
            _plain(child, own)
    return own
