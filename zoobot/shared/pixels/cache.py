"""Decoded pixels kept on disk between epochs and runs, as memory-mapped files that no kill can spoil."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import struct
import threading
import uuid
import weakref
import zlib
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import ConfigError
from zoobot.shared.pixels.images import SourcePixels, ViewNeeds, read_source
from zoobot.shared.pixels.in_memory import WholeFile
from zoobot.shared.pixels.locations import split_location, split_stack, watched_file
from zoobot.shared.pixels.web_images import WebImage, is_address

if TYPE_CHECKING:
    from zoobot.shared.augment import Augmentation
    from zoobot.shared.preprocessing import Preprocessing

# Pairs of files that hold decoded pixels and their index, each written by one process and read by all.

_ALIGNMENT = 64
_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32))

# key, offset, height, width, channels, frame height, frame width, dtype, checksum of the pixels
_RECORD = struct.Struct("<16sQ7I")
_SEAL = struct.Struct("<I")  # checksum of the record itself
_RECORD_BYTES = _RECORD.size + _SEAL.size


class PixelRow(NamedTuple):
    """Where the pixels of one file are kept.

    Attributes:
        segment: The file of pixels.
        offset: Where in it they start, in bytes.
        shape: (height, width, channels).
        frame: (height, width) of the frame that they are the central part of.
        dtype: uint8 or float32.
        checksum: CRC-32 of their bytes.
    """

    segment: Path
    offset: int
    shape: tuple[int, int, int]
    frame: tuple[int, int]
    dtype: np.dtype
    checksum: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        height, width, channels = self.shape
        return height * width * channels * self.dtype.itemsize

    def cut_from(self, segment: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Their bytes in the mapped segment; fewer than `size` if it ends before."""
        return segment[self.offset : self.offset + self.size]

    def is_intact(self, data: NDArray[np.uint8]) -> bool:
        """Whether these bytes are those that were written."""
        return len(data) == self.size and zlib.crc32(data.data) == self.checksum


class SegmentWriter:
    """Appends to a pair of files, `*.pixels` and `*.index`, that no other process writes to.

    Pixels go first and their record after, unbuffered: a process that is killed leaves no record without
    pixels.

    Args:
        folder: Where the files lie.

    Raises:
        OSError: If they can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        self.segment = folder / f"{uuid.uuid4().hex}.pixels"
        self._pixels: IO[bytes] = open(self.segment, "xb", buffering=0)  # noqa: SIM115  open while the cache is
        self._index: IO[bytes] = open(self.segment.with_suffix(".index"), "xb", buffering=0)  # noqa: SIM115
        weakref.finalize(self, _close, self._pixels, self._index)

    def append(self, key: bytes, pixels: NDArray, frame: tuple[int, int]) -> PixelRow:
        """Keep an image.

        Args:
            key: Its name, 16 bytes.
            pixels: (height, width, channels), contiguous, uint8 or float32.
            frame: (height, width) of the frame that they are the central part of.

        Raises:
            OSError: If they can't be written, as on a full disk; then there is no record of them.
        """
        end = self._pixels.seek(0, os.SEEK_END)
        padding = -end % _ALIGNMENT
        try:
            _write_all(self._pixels, bytes(padding))
            _write_all(self._pixels, pixels.data.cast("B"))
        except OSError:
            self._pixels.truncate(end)
            raise
        checksum = zlib.crc32(pixels.data)
        row = PixelRow(self.segment, end + padding, pixels.shape, frame, pixels.dtype, checksum)
        _write_all(self._index, _pack(key, row))
        return row


def list_indexes(folder: Path) -> list[Path]:
    """The index files of a folder, the one that grew last at the end."""
    return sorted(folder.glob("*.index"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_rows(index: Path, start: int) -> tuple[dict[bytes, PixelRow], int]:
    """The rows of an index by their keys, and where to start the next time.

    Damaged records are passed over, and so are those beyond the end of the pixels.

    Args:
        index: The index file.
        start: Byte to start from.
    """
    with index.open("rb") as file:
        file.seek(start)
        data = file.read()
    count = len(data) // _RECORD_BYTES  # the last record may be half-written
    segment = index.with_suffix(".pixels")
    length = segment.stat().st_size if segment.is_file() else 0
    found = (_unpack(data[i * _RECORD_BYTES : (i + 1) * _RECORD_BYTES], segment) for i in range(count))
    rows = [item for item in found if item is not None and item[1].offset + item[1].size <= length]
    return dict(rows), start + count * _RECORD_BYTES


def _close(*files: IO[bytes]) -> None:
    for file in files:
        file.close()


def _write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


def _pack(key: bytes, row: PixelRow) -> bytes:
    numbers = (*row.shape, *row.frame, _DTYPES.index(row.dtype), row.checksum)
    record = _RECORD.pack(key, row.offset, *numbers)
    return record + _SEAL.pack(zlib.crc32(record))


def _unpack(data: bytes, segment: Path) -> tuple[bytes, PixelRow] | None:
    """Key and row of a record; None if it is damaged."""
    record, seal = data[: _RECORD.size], data[_RECORD.size :]
    if _SEAL.unpack(seal)[0] != zlib.crc32(record):
        return None
    key, offset, height, width, channels, frame_height, frame_width, dtype, checksum = _RECORD.unpack(record)
    frame = (frame_height, frame_width)
    return key, PixelRow(segment, offset, (height, width, channels), frame, _DTYPES[dtype], checksum)


logger = logging.getLogger(__name__)

_FORMAT = 2  # 1 kept FITS cubes in their stored order, blue first
_KEEP_FREE_BYTES = 2**30
"""A cache never fills the disk: checkpoints and results need room, too."""

#: What of a preprocessing record comes after decoding, and so does not decide what is kept.
_AFTER_DECODING = (
    "image_size_pix",
    "crop_fraction",
    "mean",
    "std",
    "pixel_scale_arcsec",
    "views",
    "degraded",
)
_DECODERS = ("simplejpeg", "pillow", "opencv-python-headless", "opencv-python", "astropy")


class PixelCache:
    """The pixels that views need (`read_source`), decoded once: 8-bit images and float32 ones.

    What comes out is bit by bit what the file would give. Rows are found by the image's location, and by the
    size and time of change of the file it is in, in a folder of their own for each way of decoding; so
    changed files and options are decoded anew. Each process appends to files of its own, pixels first and
    their record after, and reads those of all; pixels are compared with their checksum when first read. So
    several processes may share a cache, a killed one leaves what it had finished, and damage costs no more
    than decoding again. Threads may share an object.

    On a disk with less than 1 GiB to spare the cache stops growing, says so, and the rest comes from the
    files. Delete the folder whenever no run is using it.

    Args:
        cache_dir: Folder of caches; it is made when needed.
        preprocessing: How files become pixels.
        augmentation: The views that are made of them: they decide at which scale pixels are kept.

    Raises:
        ConfigError: If the folder can't be made or written to.

    Example:
        >>> cache = PixelCache("cache", Preprocessing(), None)  # doctest: +SKIP
        >>> cache.read("galaxy.jpg").pixels.shape  # doctest: +SKIP
        (424, 424, 3)
    """

    def __init__(
        self, cache_dir: str | Path, preprocessing: Preprocessing, augmentation: Augmentation | None
    ) -> None:
        self.preprocessing = preprocessing
        self.needs = ViewNeeds.of(preprocessing, augmentation)
        about = _describe(preprocessing, self.needs)
        self.folder = Path(cache_dir).expanduser() / _digest(about.encode(), 8).hex()
        _make_folder(self.folder, about)
        self._rows: dict[bytes, PixelRow] = {}
        self._trusted: set[bytes] = set()
        self._maps: dict[Path, NDArray[np.uint8]] = {}
        self._read_up_to: dict[Path, int] = {}
        self._writer: SegmentWriter | None = None
        self._is_full = False
        self._lock = threading.Lock()
        self.refresh()

    def __len__(self) -> int:
        """Number of files whose pixels are known to be kept."""
        return len(self._rows)

    def refresh(self) -> None:
        """Take notice of what was added, here or by other processes; loaders do so before each epoch."""
        with self._lock:
            for index in list_indexes(self.folder):
                rows, self._read_up_to[index] = read_rows(index, self._read_up_to.get(index, 0))
                if rows:
                    segment = next(iter(rows.values())).segment
                    self._maps[segment] = np.memmap(segment, np.uint8, mode="r")
                # The latest replaces one that was found damaged, but not one that was found intact.
                self._rows |= {key: row for key, row in rows.items() if key not in self._trusted}

    def read(self, path: str | Path) -> SourcePixels:
        """The pixels of a file: those that are kept, or else those of the file, which are kept from now on.

        Raises:
            ImageError: If the file can't be read. Failures are not kept.
            MissingPackageError: If the file is FITS and astropy is not installed.
        """
        key = _key_of(path)
        source = None if key is None else self._find(key)
        if source is None:
            source = read_source(path, self.preprocessing, self.needs)
            if key is not None:
                self._keep(key, source)
        return source

    def _find(self, key: bytes) -> SourcePixels | None:
        row = self._rows.get(key)
        segment = None if row is None else self._maps.get(row.segment)
        if row is None or segment is None or row.offset >= len(segment):
            return None  # unknown, or added since the last refresh
        data = row.cut_from(segment)
        if key not in self._trusted:
            if not row.is_intact(data):
                logger.warning("damaged pixels in %s are decoded anew", row.segment)
                self._rows.pop(key, None)
                return None
            self._trusted.add(key)
        return SourcePixels(data.view(row.dtype).reshape(row.shape), row.frame)

    def _keep(self, key: bytes, source: SourcePixels) -> None:
        pixels = np.ascontiguousarray(source.pixels)
        with self._lock:
            if self._is_full or key in self._rows:
                return
            try:
                self._require_room(pixels.nbytes)
                if self._writer is None or self._writer.process != os.getpid():  # a fork must not share it
                    self._writer = SegmentWriter(self.folder)
                self._rows[key] = self._writer.append(key, pixels, source.frame)
            except OSError as error:
                self._is_full = True
                logger.warning(
                    "the pixel cache %s can't grow (%s): what it lacks is read from the image files",
                    self.folder,
                    error.strerror or error,
                )

    def _require_room(self, size: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free - size < _KEEP_FREE_BYTES:
            raise OSError(f"only {free / 2**30:.1f} GiB of disk are free")


def _key_of(path: str | Path) -> bytes | None:
    """What names the present content of a location; None if there is no such file."""
    stack = split_stack(path)
    places = [path] if stack is None else [place for _, place in stack]
    is_web = isinstance(path, WebImage)  # what lies at an address is taken to stay the same
    text = os.fspath(path) if stack or is_web else os.path.abspath(path)
    text += "|whole" if isinstance(path, WholeFile) else ""
    try:
        for place in places:
            if is_web and is_address(place):
                continue
            status = os.stat(watched_file(split_location(place).container))
            text += f"|{status.st_size}|{status.st_mtime_ns}"
    except (OSError, ValueError):  # no such file, or a name that no file can have
        return None
    return _digest(text.encode("utf-8", "surrogatepass"), 16)


def _describe(preprocessing: Preprocessing, needs: ViewNeeds) -> str:
    """All that decides which pixels a file gives, as text."""
    decoding = {
        name: value for name, value in preprocessing.to_config().items() if name not in _AFTER_DECODING
    }
    about: dict[str, Any] = {
        "format": _FORMAT,
        "decoding": decoding,
        "views": asdict(needs),
        "decoders": {name: _version(name) for name in _DECODERS},
    }
    return json.dumps(about, indent=1, sort_keys=True)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _digest(data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def _make_folder(folder: Path, about: str) -> None:
    """The folder, with a file that tells people what it is for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "about.json").exists():
            draft = folder / f"about.{uuid.uuid4().hex}"
            draft.write_text(about + "\n", encoding="utf-8")
            draft.replace(folder / "about.json")
    except OSError as error:
        msg = f"cache_dir must be a folder that can be written to: {folder} ({error.strerror or error})"
        raise ConfigError(msg) from error
