"""Encoders described as data, in timm's terms, for engines that build them themselves.

timm is the reference: layer paths, parameter shapes and arithmetic are its own, so that weights move both
ways.
"""

from __future__ import annotations

import difflib
from typing import TypeAlias

from zoobot.shared.architectures.architecture import Architecture
from zoobot.shared.architectures.convnext import CONVNEXTS, ConvNeXt
from zoobot.shared.architectures.efficientnet import EFFICIENTNETS, EfficientNet, Stage
from zoobot.shared.architectures.resnet import RESNETS, ResNet
from zoobot.shared.architectures.vit import VITS, VisionTransformer
from zoobot.shared.errors import EncoderError

__all__ = [
    "Architecture",
    "ConvNeXt",
    "EfficientNet",
    "KnownArchitecture",
    "ResNet",
    "Stage",
    "VisionTransformer",
    "architecture_names",
    "get_architecture",
]

#: Any of the families that are described.
KnownArchitecture: TypeAlias = "ConvNeXt | ResNet | EfficientNet | VisionTransformer"

_ALL: tuple[KnownArchitecture, ...] = (*CONVNEXTS, *RESNETS, *EFFICIENTNETS, *VITS)
_KNOWN = {architecture.name: architecture for architecture in _ALL}


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
        near = difflib.get_close_matches(name, _KNOWN, n=4, cutoff=0.5)
        msg = f"no architecture {name!r} is described; near names: {near}; it must be one of {list(_KNOWN)}"
        raise EncoderError(msg)
    return _KNOWN[name]
