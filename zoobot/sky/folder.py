"""A folder of cutouts that survives any kill: images whole or absent, and a record of each that came."""

from __future__ import annotations

import io
import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.files.whole import clear_abandoned, draft_name, saying_why
from zoobot.shared.pixels.answers import check_image
from zoobot.shared.web.client import NoImage
from zoobot.sky.surveys import Found

if TYPE_CHECKING:
    from zoobot.sky.surveys import Cutout

#: The folder of the images, the record of them and that of searches: a line of JSON for each.
IMAGES, JOURNAL, SEARCHES = "cutouts", "fetched.jsonl", "searched.jsonl"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An image that came.

    Args:
        file: Its name.
        bytes: Its size.
        url: What was asked.
        date: When it came, in UTC.
        pixel_scale_arcsec: The side of a pixel; None where nothing tells it.
        dataset: What it was cut from, where that was searched for.
        images: How many images the search found.
        edge_arcsec: How far the galaxy lies from the edge of that one.
        band_m: The wavelengths of that one in metres.
    """

    file: str
    bytes: int
    url: str
    date: str
    pixel_scale_arcsec: float | None
    dataset: str = ""
    images: int | None = None
    edge_arcsec: float | None = None
    band_m: str = ""


class CutoutFolder:
    """The images of a run, and what is known of them.

    A file is there whole or not at all, so an image that came before a kill is known even where the kill was
    quicker than the record; then it is looked at once more.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.images, self._journal, self._searches = folder / IMAGES, folder / JOURNAL, folder / SEARCHES
        self._searched: dict[str, tuple[str, Found]] = {}
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}
        self._sizes: dict[str, int] = {}

    def open(self) -> None:
        """Find out what is there."""
        with saying_why(self.images):
            self.images.mkdir(parents=True, exist_ok=True)
        clear_abandoned(self.images)
        with os.scandir(self.images) as entries:
            self._sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        self._kept, self._searched = self._read(), self._read_searches()

    def clear(self) -> None:
        """Delete the images that are recorded, and the record; no other file."""
        for name in self._read():
            (self.images / name).unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)
        self._searches.unlink(missing_ok=True)

    def find(self, cutout: Cutout, image_format: str) -> Kept | None:
        """What is known of an image that came before; None where it must be asked for."""
        size, kept = self._sizes.get(cutout.file), self._kept.get(cutout.file)
        if size is None or (kept is not None and kept.bytes == size):
            return kept if size is not None else None
        path = self.images / cutout.file
        data = path.read_bytes()
        try:
            check_image(data, image_format, cutout.size_pix)
        except NoImage:  # damaged since, as by a power cut
            return None
        kept = _told(
            self.searched(cutout) or cutout, data, datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        )
        self.note(kept)
        return kept

    def keep(self, cutout: Cutout, data: bytes) -> Kept:
        """Write an image, whole or not at all; to be noted then.

        Raises:
            WriteError: If it can't be written.
        """
        path = self.images / cutout.file
        draft = draft_name(path)
        with saying_why(path):
            try:
                draft.write_bytes(data)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        return _told(cutout, data, datetime.now(timezone.utc))

    def note(self, kept: Kept) -> None:
        """Add an image to the record.

        Raises:
            WriteError: If it can't be written.
        """
        self._kept[kept.file] = kept
        with saying_why(self._journal), self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(kept)) + "\n")

    def searched(self, cutout: Cutout) -> Cutout | None:
        """The same cutout as a search found it before; None where it must be searched for."""
        if cutout.file not in self._searched:
            return None
        url, found = self._searched[cutout.file]
        return replace(cutout, url=url, found=found)

    def note_searched(self, cutout: Cutout) -> None:
        """Keep what a search found, before the image comes: from several threads.

        Raises:
            WriteError: If it can't be written.
        """
        if cutout.found is not None:
            self._searched[cutout.file] = cutout.url, cutout.found
            self._add_search({"file": cutout.file, "url": cutout.url, "found": asdict(cutout.found)})

    def forget_searched(self, cutout: Cutout) -> None:
        """Search for it anew next time, for what was found gave no image."""
        if self._searched.pop(cutout.file, None) is not None:
            self._add_search({"file": cutout.file})

    def _add_search(self, line: dict[str, object]) -> None:
        with self._lock, saying_why(self._searches), self._searches.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _read_searches(self) -> dict[str, tuple[str, Found]]:
        if not self._searches.is_file():
            return {}
        searched: dict[str, tuple[str, Found]] = {}
        for line in self._searches.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                told = json.loads(line)
                name = str(told["file"])
                if "found" in told:
                    searched[name] = str(told["url"]), Found(**told["found"])
                else:
                    searched.pop(name, None)
            except (ValueError, TypeError, KeyError, RecursionError):  # as cut short by a kill
                continue
        return searched

    def _read(self) -> dict[str, Kept]:
        """The record; a line that a kill cut short tells nothing."""
        if not self._journal.is_file():
            return {}
        found = {}
        for line in self._journal.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                kept = Kept(**json.loads(line))
            except (ValueError, TypeError, RecursionError):
                continue
            if Path(str(kept.file)).name == kept.file:  # never a file of another folder
                found[kept.file] = kept
        return found


def _told(cutout: Cutout, data: bytes, date: datetime) -> Kept:
    scale = cutout.pixel_scale_arcsec
    if scale is None and cutout.file.endswith(".fits"):
        scale = _scale_in_header(data)
    return Kept(
        file=cutout.file,
        bytes=len(data),
        url=cutout.url,
        date=date.isoformat(timespec="seconds"),
        pixel_scale_arcsec=scale,
        **({} if cutout.found is None else asdict(cutout.found)),
    )


def _scale_in_header(data: bytes) -> float | None:
    """The side of a pixel in arcsec as the header of a FITS image tells it; None where it does not."""
    from astropy import wcs
    from astropy.io import fits

    try:
        with fits.open(io.BytesIO(data), memmap=False) as hdus:
            for hdu in hdus:
                if hdu.header.get("NAXIS", 0) >= 2 and "CTYPE1" in hdu.header:
                    scales = wcs.utils.proj_plane_pixel_scales(wcs.WCS(hdu.header).celestial)
                    return float(np.sqrt(scales[0] * scales[1])) * 3600
    except (OSError, ValueError, TypeError, KeyError):  # coordinates that can't be read: they are not told
        return None
    return None
