"""Which architecture some weights are of, by the names and shapes of their arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["fingerprint", "known_fingerprint", "recognise"]

_FILE = Path(__file__).with_name("fingerprints.txt")
_COUNTS = ("num_batches_tracked",)  # which some files lack


def fingerprint(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A short hash of what an encoder's arrays are called and their shapes, for any channels and image size.

    Args:
        shapes: Of its arrays by timm's names, in timm's order.

    Example:
        >>> rgb = {"stem.0.weight": (40, 3, 4, 4), "stem.0.bias": (40,)}
        >>> fingerprint(rgb) == fingerprint(rgb | {"stem.0.weight": (40, 1, 4, 4)})
        True
    """
    lines, first = [], True
    for name, shape in shapes.items():
        if name.endswith(_COUNTS):
            continue
        kept = list(shape)
        if len(kept) == 4 and first:  # the layer that images enter by
            kept[1], first = 0, False
        if name == "pos_embed":  # one for each patch of an image
            kept[1:-1] = []
        lines.append(f"{name} {tuple(kept)}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:12]


def recognise(found: str) -> list[str]:
    """Timm's names of the architectures with a fingerprint; several where they differ in no shape.

    Example:
        >>> recognise(known_fingerprint("convnext_nano"))
        ['convnext_nano']
    """
    return [name for name, known in _known().items() if known == found]


def known_fingerprint(architecture: str) -> str | None:
    """The fingerprint of an architecture; None if it is not in the list.

    Example:
        >>> known_fingerprint("no_such_network") is None
        True
    """
    return _known().get(architecture)


@cache
def _known() -> dict[str, str]:
    """Those of timm's architectures, as `benchmarks/write_fingerprints.py` found them."""
    rows = _FILE.read_text(encoding="ascii").splitlines()
    pairs = (row.split() for row in rows if row and not row.startswith("#"))
    return {name: known for known, name in pairs}
