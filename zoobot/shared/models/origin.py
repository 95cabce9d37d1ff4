"""Where an encoder comes from: its name, the hash of its weights, and why its pixels are as they are."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from zoobot.shared.preprocessing import describe_pixels

logger = logging.getLogger("zoobot")

#: The part of an image's side that Zoobot 2's encoders were evaluated on.
PUBLISHED_CROP_FRACTION = 1 / 1.2

_NAME = r"(?:zoobot|baseline)-encoder-[\w.-]+?"
#: As it is called on the Hub (with any revision), in its cache, or where somebody named a folder after it.
_HUB_NAME = re.compile(rf"(?:^|[:/])(mwalmsley/{_NAME})(?:@.+)?$")
_CACHED = re.compile(rf"(?:^|/)models--mwalmsley--({_NAME})/snapshots/[^/]+$")
_FOLDER = re.compile(rf"(?:^|/)({_NAME})(?:@[^/]+)?$")
_CARD = re.compile(rf"^# Model card for ({_NAME})\s*$", re.MULTILINE)
_REMOTE = re.compile(rf"^\s*url\s*=.*[/:]mwalmsley/({_NAME})(?:\.git)?/?\s*$", re.MULTILINE)

_LONGEST_LOOK = 2**16


@dataclass(frozen=True)
class Origin:
    """Where an encoder comes from.

    Args:
        encoder: Its name: `hf_hub:owner/name`, a folder, a bundled encoder, or an architecture.
        sha256: Of the file of its weights; None for random weights, and for modules in memory.
        pixels: Why its images are cropped and normalised as they are, in words.
    """

    encoder: str
    sha256: str | None = None
    pixels: str = ""

    def to_config(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Any) -> Origin | None:
        """The record back from `to_config`; None where there is none."""
        if not isinstance(config, dict) or not isinstance(config.get("encoder"), str):
            return None
        told = {f.name: config[f.name] for f in fields(cls) if isinstance(config.get(f.name), str)}
        return cls(**told)


def published_name(place: str | Path) -> tuple[str, str] | None:
    """Which encoder of Zoobot 2 (its GZ Evo baselines included) something is, and what says so.

    They learned from pixels in [0, 1], neither shifted nor scaled, and from the inner part of images
    (`default_view_config` of galaxy-datasets). What timm wrote beside them when they were published is the
    normalisation of its own weights of that architecture.

    Args:
        place: A name on the Hub, with or without prefix and revision, or a folder. A folder is known by its
            name, as part of the Hub's cache, by its model card (README.md), or by where git cloned it from.

    Example:
        >>> published_name("hf_hub:mwalmsley/zoobot-encoder-convnext_nano@refs/pr/1")
        ('zoobot-encoder-convnext_nano', 'its name')
        >>> published_name("hf_hub:timm/convnext_nano.in12k") is None
        True
    """
    found = _HUB_NAME.search(str(place))
    if found:
        return found[1].partition("/")[2], "its name"
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return None
    for path in (folder.absolute(), folder.resolve()):
        for pattern, what in ((_CACHED, "its place in the Hub's cache"), (_FOLDER, "the name of its folder")):
            found = pattern.search(path.as_posix())
            if found:
                return found[1], what
    for file, pattern in ((folder / "README.md", _CARD), (folder / ".git" / "config", _REMOTE)):
        found = pattern.search(_start_of(file))
        if found:
            return found[1], str(file)
    return None


def tell_pixels(*models: Any) -> None:
    """Log what models look at, and why, once for each way of looking.

    Args:
        *models: Models or encoders of an engine, or exported models.
    """
    told = [
        describe_pixels(model.preprocessing, origin.pixels if origin else "")
        for model in models
        for origin in [getattr(getattr(model, "encoder", model), "origin", None)]
    ]
    for text in dict.fromkeys(told):
        logger.info("%s", text)


def _start_of(file: Path) -> str:
    """The first part of a text; empty where there is none that can be read."""
    if not file.is_file():
        return ""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_LONGEST_LOOK)
    except OSError:  # it may be private; the folder's weights are what counts
        return ""
