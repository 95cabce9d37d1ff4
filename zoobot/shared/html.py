"""HTML that notebooks show of results: escaped, without scripts, and of nothing but itself."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELL = "padding:2px 10px 2px 0;text-align:left;vertical-align:top"
_UNBROKEN = 24  # signs of a cell that stays on its line
_BAR_EM = 7.0
_MAIN, _PALE = "#2f6db3", "rgba(128,128,128,0.2)"


def escape(text: object) -> str:
    """Text that means itself in HTML, as attributes do, too.

    Example:
        >>> escape("a<b")
        'a&lt;b'
    """
    return html.escape(str(text), quote=True)


def facts_html(title: str, facts: Mapping[str, Any]) -> str:
    """A title, and below it names beside what is said of them; what is empty is left out.

    Args:
        title: Text.
        facts: Texts by their names; lines of a text stay lines.

    Example:
        >>> "<td" in facts_html("rings", {"task": "classification"})
        True
    """
    rows = [
        f'<tr><td style="{_CELL};opacity:0.7">{escape(name)}</td>'
        f'<td style="{_CELL};white-space:pre-line">{escape(words)}</td></tr>'
        for name, words in facts.items()
        if str(words)
    ]
    return f'<div><b>{escape(title)}</b><table style="border:0">{"".join(rows)}</table></div>'


def table_html(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of texts under their headings; lines of a text stay lines.

    Example:
        >>> table_html(["name"], [["a & b"]]).count("a &amp; b")
        1
    """
    head = "".join(f'<th style="{_CELL}">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL};white-space:{_breaks(str(cell))}">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return f'<table style="border:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _breaks(text: str) -> str:
    """How lines of a cell may break."""
    return "pre-line" if "\n" in text or len(text) > _UNBROKEN else "nowrap"


def bar_html(name: str, share: float, words: str) -> str:
    """A bar as long as a share of 1, with its name before it and words behind.

    Args:
        name: Text.
        share: In [0, 1].
        words: Text.
    """
    filled = f"{min(max(share, 0.0), 1.0) * 100:.0f}%"
    bar = (
        f'<span style="display:inline-block;width:{_BAR_EM}em;height:0.7em;background:'
        f'linear-gradient(to right,{_MAIN} {filled},{_PALE} {filled})"></span>'
    )
    return (
        f'<div style="white-space:nowrap;font-size:85%">{bar} {escape(words)} '
        f'<span style="opacity:0.7">{escape(name)}</span></div>'
    )


def image_html(pixels: NDArray, *, side_pix: int = 128) -> str:
    """A picture in itself.

    Args:
        pixels: (height, width, channels), uint8 or in [0, 1]; of 2 channels, or more than 3, the mean.
        side_pix: Its longer side on the screen.
    """
    import numpy as np  # late, both: who shows no pictures needs none
    from PIL import Image

    values = pixels if pixels.dtype == np.uint8 else np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if values.shape[-1] not in (1, 3):
        values = np.rint(values.mean(axis=-1, keepdims=True)).astype(np.uint8)
    picture = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    picture.thumbnail((2 * side_pix, 2 * side_pix))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return _embedded(file.getvalue(), "jpeg", f"max-width:{side_pix}px;max-height:{side_pix}px")


def png_html(data: bytes, words: str = "") -> str:
    """A PNG's picture in itself, as wide as there is room.

    Args:
        data: The file's bytes.
        words: What stands for the picture where it can't be seen.
    """
    return _embedded(data, "png", "max-width:100%", words)


def _embedded(data: bytes, kind: str, style: str, words: str = "") -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" style="{style}" alt="{escape(words)}">'
