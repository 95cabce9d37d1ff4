"""Contents of explorer pages for tests: any number of galaxies, and names that mean harm."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from zoobot.explorer import Contents, Neighbours, Text, Thumbnails, describe_predictions
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import TreeTask

TREE = Schema.from_pairs(
    {"smooth-or-featured": ["smooth", "featured"], "bar": ["strong", "weak", "no"]},
    {"bar": "smooth-or-featured_featured"},
)

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "{{script}}{{data}}",
    '=HYPERLINK("http://example.org","x")',
    "@SUM(1)",
    "-2+3",
    "+cmd|' /C calc'!A0",
    'comma, "quotes" and\r\nline',
    "\ttab first",
    "nul \x00 bell \x07 escape \x1b",
    "line\u2028separator",
    "right \u202e to left",
    "naïve 銀河 🌌",
    "lone \ud800 surrogate",
    " spaces ",
    "javascript:window.hacked=1",
    "-12.5",
    "0" * 3000,
)


def webp(colour):
    buffer = BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, "WEBP")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def make_contents(count, *, ids=None, title="galaxies", neighbours=3, schema=TREE, seed=0):
    """A page of so many galaxies of a small tree."""
    draws = np.random.default_rng(seed)
    samples = draws.uniform(1, 30, (1, count, len(schema.label_cols)))
    labels = draws.integers(0, 20, (count, len(schema.label_cols))).astype(float)
    described = describe_predictions(TreeTask(schema=schema), samples, labels, level=0.9)
    picture = webp("navy")
    near = None
    if neighbours and count > neighbours:
        rows = (np.arange(count)[:, None] + np.arange(1, neighbours + 1)) % count
        near = Neighbours(rows.astype(np.int32), (rows * 0.5).astype(np.float32))
    return Contents(
        title=title,
        facts=[("Results", title)],
        ids=list(ids or [f"galaxy-{number:05d}" for number in range(count)]),
        columns=described.columns,
        texts=described.texts,
        charts=described.charts,
        thumbnails=Thumbnails([picture] * count, [""] * count),
        neighbours=near,
    )


def contents_to_label(annotation, count, *, ids=None, title="galaxies", positions=None, places=None):
    """A page on which so many galaxies are labelled."""
    ids = list(ids or [f"galaxy-{number:05d}" for number in range(count)])
    return Contents(
        title=title,
        facts=[],
        ids=ids,
        columns=[],
        charts=[],
        thumbnails=Thumbnails([webp("navy")] * count, [""] * count),
        positions=positions,
        annotation=annotation,
        places=[Text("file_loc", "Image", places or [f"{galaxy}.jpg" for galaxy in ids])],
    )
