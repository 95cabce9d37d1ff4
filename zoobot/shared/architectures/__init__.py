"""Encoders described as data, in timm's terms, for engines that build them themselves.

timm is the reference: layer paths, parameter shapes and arithmetic are its own, so that weights move both
ways.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

from zoobot.shared.architectures.architecture import Architecture
from zoobot.shared.architectures.convnext import CONVNEXTS, ConvNeXt
from zoobot.shared.architectures.efficientnet import EFFICIENTNETS, EfficientNet, Stage
from zoobot.shared.architectures.resnet import RESNETS, ResNet
from zoobot.shared.architectures.vit import VITS, VisionTransformer
from zoobot.shared.errors import EncoderError

__all__ = [
    "ELSEWHERE",
    "Architecture",
    "ConvNeXt",
    "EfficientNet",
    "KnownArchitecture",
    "ResNet",
    "Stage",
    "VisionTransformer",
    "architecture_names",
    "fingerprint",
    "get_architecture",
    "known_fingerprint",
    "near_architectures",
    "recognise",
]


# Which architecture some weights are of, by the names and shapes of their arrays.

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


#: Any of the families that are described.
KnownArchitecture: TypeAlias = "ConvNeXt | ResNet | EfficientNet | VisionTransformer"

_ALL: tuple[KnownArchitecture, ...] = (*CONVNEXTS, *RESNETS, *EFFICIENTNETS, *VITS)
_KNOWN = {architecture.name: architecture for architecture in _ALL}


#: What to say to somebody who asks for another architecture.
ELSEWHERE = (
    "the TensorFlow engine has some of timm's architectures, the PyTorch engine has all of them: "
    "--backend pytorch, or `zoobot.pytorch` in Python"
)


def architecture_names() -> list[str]:
    """The names of all described architectures, family by family.

    Example:
        >>> "convnext_nano" in architecture_names()
        True
    """
    return list(_KNOWN)


def get_architecture(name: str) -> KnownArchitecture:
    """The description of one architecture.

    Args:
        name: timm's name, without a tag of its weights.

    Raises:
        EncoderError: If it is not described; those that are are listed.

    Example:
        >>> get_architecture("convnext_nano").num_features
        640
    """
    if name not in _KNOWN:
        near = near_architectures(name, _KNOWN)
        hint = f"near names: {near}; " if near else ""
        msg = f"no architecture {name!r} is described; {hint}{ELSEWHERE}. It must be one of {list(_KNOWN)}"
        raise EncoderError(msg)
    return _KNOWN[name]


def near_architectures(name: str, known: Iterable[str]) -> list[str]:
    """Up to four known names like one that is not known, of families like its own.

    Example:
        >>> near_architectures("convnext_nan", ["convnext_nano", "resnet18"])
        ['convnext_nano']
        >>> near_architectures("maxvit_tiny_tf_224", ["vit_tiny_patch16_224"])
        []
    """
    family = _family(name)
    alike = [other for other in known if difflib.SequenceMatcher(None, family, _family(other)).ratio() > 0.75]
    return difflib.get_close_matches(name, alike, n=4, cutoff=0.5)


def _family(name: str) -> str:
    """The word that a name starts with: `convnext` of `convnext_nano`."""
    found = re.match(r"[a-zA-Z]+", name.removeprefix("tf_"))
    return found[0].lower() if found else ""
