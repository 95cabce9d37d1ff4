"""A page to look through galaxies, or to label them: one HTML file, without server or network.

`charts` says what is shown of each task's predictions, `contents` adds pictures and look-alikes, `annotation`
what is asked of each galaxy, and here it is put, safely, into the HTML, CSS and JavaScript in the folder
`page`.

Ids, names and labels come from strangers. They enter the file as JSON of plain ASCII without <, > and &, in
a block that browsers do not run, and the page shows them as text alone. The Content-Security-Policy lets no
script run but ours, by its hash, and nothing be loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from zoobot.explorer.annotation import (
    SKY_LINKS,
    Annotation,
    Positions,
    ask_for_class,
    ask_for_rating,
    ask_tree,
    known_positions,
)
from zoobot.explorer.charts import describe_predictions
from zoobot.explorer.contents import (
    Bar,
    Chart,
    Column,
    Contents,
    Described,
    Neighbours,
    Text,
    Thumbnails,
    find_neighbours,
    make_thumbnails,
)
from zoobot.shared.files.whole import write_safely

__all__ = [
    "Annotation",
    "Bar",
    "Chart",
    "Column",
    "Contents",
    "Described",
    "Neighbours",
    "Positions",
    "Text",
    "Thumbnails",
    "ask_for_class",
    "ask_for_rating",
    "ask_tree",
    "describe_predictions",
    "find_neighbours",
    "known_positions",
    "make_thumbnails",
    "page_text",
    "write_page",
]


class _Page(NamedTuple):
    """The files that a kind of page is made of."""

    document: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


_EXPLORER = _Page(
    "page.html",
    ("style.css",),
    (
        *("data.js", "shown.js", "charts.js", "sky.js", "grid.js", "facets.js", "details.js", "csv.js"),
        *("plot.js", "main.js"),
    ),
)
_ANNOTATOR = _Page(
    "annotate.html",
    ("style.css", "annotate.css"),
    ("data.js", "charts.js", "sky.js", "csv.js", "labels.js", "kept.js", "annotate.js"),
)
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def write_page(path: str | Path, contents: Contents) -> None:
    """Write the page, or leave an older one as it is.

    Raises:
        WriteError: If it can't be written.
    """
    write_safely(path, page_text(contents))


def page_text(contents: Contents) -> str:
    """The whole page.

    Args:
        contents: What it shows.
    """
    page = _EXPLORER if contents.annotation is None else _ANNOTATOR
    style, script = (_read(*names) for names in (page.styles, page.scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": html.escape(policy),
        "title": html.escape(_visible(contents.title)),
        "style": style,
        "data": safe_json(_as_json(contents)),
        "script": script,
    }
    # in one pass, so that nothing in a part is taken for a place to fill
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _read(page.document))


def _read(*names: str) -> str:
    folder = resources.files(__package__) / "page"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def safe_json(value: Any) -> str:
    r"""JSON that can stand anywhere in HTML.

    Example:
        >>> safe_json({"id": "</script>"})
        '{"id":"\\u003c/script\\u003e"}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _source(text: str) -> str:
    """What a Content-Security-Policy calls this text."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _visible(text: str) -> str:
    """The text without what UTF-8 can't hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _as_json(contents: Contents) -> dict[str, Any]:
    near = contents.neighbours
    return {
        "title": contents.title,
        "facts": contents.facts,
        "interval": contents.interval,
        "ids": contents.ids,
        "columns": [_column(column) for column in contents.columns],
        "texts": [_text(text) for text in contents.texts],
        "charts": [
            chart._asdict() | {"bars": [bar._asdict() for bar in chart.bars]} for chart in contents.charts
        ],
        "pictures": contents.thumbnails.pictures,
        "reasons": _text_values(contents.thumbnails.reasons),
        "neighbours": near
        and {
            "count": near.rows.shape[1],
            "rows": _packed(near.rows, "<i4"),
            "similarities": _packed(near.similarities, "<f4"),
        },
        "sky": contents.positions and _sky(contents.positions),
        "annotation": contents.annotation and _annotation(contents.annotation, contents),
    }


def _sky(positions: Positions) -> dict[str, Any]:
    return {"ra": _packed(positions.ra, "<f8"), "dec": _packed(positions.dec, "<f8"), "links": SKY_LINKS}


def _annotation(annotation: Annotation, contents: Contents) -> dict[str, Any]:
    return {
        "kind": annotation.kind,
        "key": annotation.key(contents.ids),
        "questions": [question._asdict() for question in annotation.questions],
        "column": annotation.column,
        "values": annotation.values,
        "places": [_text(text) for text in contents.places],
    }


def _column(column: Column) -> dict[str, Any]:
    facts = {"name": column.name, "title": column.title, "share": column.is_share, "listed": column.is_listed}
    return facts | {"values": _packed(column.values, "<f4")}


def _text(text: Text) -> dict[str, Any]:
    return {"name": text.name, "title": text.title, **_text_values(text.values)}


def _text_values(values: list[str]) -> dict[str, Any]:
    """Words, each once, and which of them each galaxy has."""
    words = list(dict.fromkeys(values))
    code = {word: number for number, word in enumerate(words)}
    return {"words": words, "codes": _packed([code[value] for value in values], "<i4")}


def _packed(numbers: ArrayLike, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, dtype=kind).tobytes()).decode("ascii")
