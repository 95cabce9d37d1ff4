"""What a folder of prediction parts is of: model, catalog and options; a run of others is refused."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoobot.shared.errors import PredictionsError
from zoobot.shared.files.whole import clear_abandoned, draft_name, saying_why, sync
from zoobot.shared.tables.part_folder import PartFolder
from zoobot.version import __version__

logger = logging.getLogger(__name__)

FORMAT = 1

#: Packages that may decide the last digits of a prediction, if they are in use.
_PACKAGES = (
    "numpy", "cv2", "PIL", "simplejpeg", "astropy", "pyarrow",
    "torch", "timm", "tensorflow", "keras", "onnxruntime",
)  # fmt: skip

_SHOWN = 8
_SHOWN_CHARACTERS = 70
_MOST_PARTS = 10**7
_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that decides what stands in the parts, and who made them.

    Args:
        models: The SHA-256 of each model.
        task: What they predict, as JSON.
        preprocessing: How each reads images, as JSON.
        options: What else decides the numbers, `part_rows` among it.
        catalog: `name`, `galaxies` and `fingerprint`.
        versions: Of Zoobot and of the packages that compute; others are accepted with a warning.
    """

    models: list[str]
    task: dict[str, Any]
    preprocessing: list[dict[str, Any]]
    options: dict[str, Any]
    catalog: dict[str, Any]
    versions: dict[str, str]

    @property
    def galaxies(self) -> int:
        """How many galaxies the catalog has."""
        return int(self.catalog["galaxies"])

    @property
    def part_rows(self) -> int:
        """Galaxies in a part; the last may have fewer."""
        return int(self.options["part_rows"])

    @property
    def samples(self) -> int:
        """Rows of each galaxy: the samples of all models."""
        return int(self.options.get("n_samples", 1)) * max(1, len(self.models))

    @property
    def part_count(self) -> int:
        """How many parts there are when all are done."""
        return -(-self.galaxies // self.part_rows)

    def count(self, numbers: list[int]) -> int:
        """How many galaxies of the catalog some parts are of."""
        last = self.part_count - 1
        missing_in_last = self.part_rows * self.part_count - self.galaxies if last in numbers else 0
        return self.part_rows * len(numbers) - missing_in_last


def decisive_versions() -> dict[str, str]:
    """The versions of Python, Zoobot and of those packages in use that decide last digits."""
    stated = {name: getattr(sys.modules.get(name), "__version__", None) for name in _PACKAGES}
    return {
        "zoobot": __version__,
        "python": platform.python_version(),
        **{name: str(version) for name, version in stated.items() if version is not None},
    }


def claim_folder(folder: PartFolder, manifest: Manifest) -> Manifest:
    """Make a folder that of a run, or find that it is already.

    Returns:
        The manifest in the folder: it differs in versions, or in the catalog's name, if at all.

    However many processes do it at once, one of them writes the manifest, whole, and the others compare.

    Raises:
        PredictionsError: If the folder's predictions are of another model, catalog or option, naming what
            differs and both values; or it can't be written.
    """
    with saying_why(folder.manifest):
        clear_abandoned(folder.path, folder.manifest.name)
        if not folder.manifest.exists():
            _create(folder.manifest, json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2) + "\n")
    there = read_manifest(folder)
    _refuse_differences(there, manifest, folder.path)
    differing = [
        f"{name} {there.versions.get(name, 'none')}, now {manifest.versions.get(name, 'none')}"
        for name in sorted(there.versions | manifest.versions)
        if there.versions.get(name) != manifest.versions.get(name)
    ]
    if differing:
        logger.warning(
            "the first parts may differ in their last digits: they were made with %s", "; ".join(differing)
        )
    return there


def _create(path: Path, text: str) -> None:
    """Write a file whole, unless it is there by then."""
    draft = draft_name(path)
    try:
        draft.write_text(text, encoding="utf-8")
        sync(draft)
        try:
            os.link(draft, path)  # unlike a rename, it never replaces
        except FileExistsError:
            return
        except OSError:  # a file system without links; who reads it meanwhile waits until it is whole
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            sync(path)
        sync(path.parent)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def read_manifest(folder: PartFolder) -> Manifest:
    """The manifest of a folder of parts.

    Raises:
        PredictionsError: If there is none, it can't be read, or a newer Zoobot wrote it.
    """
    path = folder.manifest
    if not path.is_file():
        found = f"has no {path.name}" if folder.path.is_dir() else "does not exist"
        msg = f"parts are what `zoobot predict --save-loc FOLDER` leaves; {folder.path} {found}"
        raise PredictionsError(msg)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            number = content.pop("format")
            if number != FORMAT:
                msg = f"{path} has format {number!r}, this Zoobot reads {FORMAT}; update Zoobot"
                raise PredictionsError(msg)
            return _checked(Manifest(**content))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, PredictionsError) or time.monotonic() > deadline or path.stat().st_size:
                if isinstance(error, PredictionsError):
                    raise
                msg = f"{path} can't be read ({type(error).__name__}: {error}); give another folder"
                raise PredictionsError(msg) from error
            time.sleep(0.1)


def _checked(manifest: Manifest) -> Manifest:
    """The manifest, if it is made of what readers expect, and what they count by can be counted."""
    kinds = {
        "models": list,
        "task": dict,
        "preprocessing": list,
        "options": dict,
        "catalog": dict,
        "versions": dict,
    }
    for name, kind in kinds.items():
        if not isinstance(getattr(manifest, name), kind):
            msg = f"its {name!r} is a {type(getattr(manifest, name)).__name__}, not a {kind.__name__}"
            raise TypeError(msg)
    counts = (
        manifest.catalog["galaxies"],
        manifest.options["part_rows"],
        manifest.options.get("n_samples", 1),
    )
    whole = all(isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in counts)
    if not whole or manifest.part_count > _MOST_PARTS or not isinstance(manifest.catalog["name"], str):
        msg = (
            f"it speaks of {counts[0]!r} galaxies in parts of {counts[1]!r}, {counts[2]!r} samples of each, "
        )
        raise ValueError(msg + f"of {manifest.catalog['name']!r}")
    return manifest


def _refuse_differences(there: Manifest, asked: Manifest, folder: Path) -> None:
    old, new = _decisive(there), _decisive(asked)
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not differing:
        return
    lines = [
        f"\n  {name}: {_shown(old.get(name))} there, {_shown(new.get(name))} now"
        for name in differing[:_SHOWN]
    ]
    more = f"\n  and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    raise PredictionsError(
        f"{folder} holds predictions of another run: give this one another folder, or ask for the same."
        f"{''.join(lines)}{more}"
    )


def _decisive(manifest: Manifest) -> dict[str, Any]:
    content = asdict(manifest)
    del content["versions"]
    content["catalog"].pop("name")  # the same table may be called from elsewhere
    return _flat(content)


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    if isinstance(content, list):
        content = {str(place): item for place, item in enumerate(content)}
    if not isinstance(content, Mapping):
        return {name: content}
    prefix = f"{name}." if name else ""
    return {key: v for inner, item in content.items() for key, v in _flat(item, prefix + inner).items()}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
