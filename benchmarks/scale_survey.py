"""A survey for bench_scale: a few small images, a catalog of any length over them, and broken files."""

from __future__ import annotations

import csv
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from zoobot.shared.engine import load_engine
from zoobot.shared.schemas import Schema

__all__ = ["BROKEN_WAYS", "write_catalog", "write_checkpoint", "write_images"]

_SIDE_PIX = 48
_ONE_IN = 100


def write_images(folder: Path, count: int) -> None:
    """JPEGs of ellipses, and one file for each way of being broken."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(count):
        image = draw.integers(0, 40, (_SIDE_PIX, _SIDE_PIX, 3), dtype=np.uint8)
        axes = [int(axis) for axis in draw.integers(4, 18, 2)]
        cv2.ellipse(image, (24, 24), axes, float(draw.uniform(0, 180)), 0, 360, (230, 220, 200), -1)
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    good = (folder / "0.jpg").read_bytes()
    for name, write in BROKEN_WAYS.items():
        write(folder / name, good)


def _absent(path: Path, good: bytes) -> None:
    """Nothing is written."""


def _empty(path: Path, good: bytes) -> None:
    path.write_bytes(b"")


def _truncated(path: Path, good: bytes) -> None:
    path.write_bytes(good[: len(good) // 2])


def _other_format(path: Path, good: bytes) -> None:
    path.write_bytes(b"%PDF-1.7\n" + good)


def _text(path: Path, good: bytes) -> None:
    path.write_text("<html>404 Not Found</html>")


def _bomb(path: Path, good: bytes) -> None:
    """A whole PNG of 400 million pixels in 400 kB."""
    side = 20_000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (side + 1)) for _ in range(side)) + packer.flush()
    path.write_bytes(_png(side, side, rows))


def _absurd_size(path: Path, good: bytes) -> None:
    path.write_bytes(_png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0" * 100)))


def _png(width: int, height: int, packed: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _not_a_number(path: Path, good: bytes) -> None:
    """A FITS image of three planes without a single finite pixel."""
    cards = [
        "SIMPLE  =                    T",
        "BITPIX  =                  -32",
        "NAXIS   =                    3",
    ]
    cards += [f"NAXIS{axis}  = {size:>20}" for axis, size in ((1, 32), (2, 32), (3, 3))]
    header = "".join(f"{card:<80}" for card in [*cards, "END"])
    pixels = np.full((3, 32, 32), np.nan, dtype=">f4").tobytes()
    path.write_bytes(f"{header:<2880}".encode() + pixels + b"\0" * (-len(pixels) % 2880))


def _folder(path: Path, good: bytes) -> None:
    path.mkdir()


def _unopenable(path: Path, good: bytes) -> None:
    """A link to itself: like a file without permission, but for the superuser too."""
    path.symlink_to(path)


#: The name of each broken file, and what makes it.
BROKEN_WAYS: dict[str, Callable[[Path, bytes], None]] = {
    "absent.jpg": _absent,
    "empty.jpg": _empty,
    "truncated.jpg": _truncated,
    "other_format.jpg": _other_format,
    "text.jpg": _text,
    "bomb.png": _bomb,
    "absurd_size.png": _absurd_size,
    "not_a_number.fits": _not_a_number,
    "folder.jpg": _folder,
    "unopenable.jpg": _unopenable,
}


def write_catalog(folder: Path, rows: int, files: int) -> tuple[Path, list[int]]:
    """A CSV file of so many galaxies with 18-digit ids, and the rows whose file is broken."""
    ways = list(BROKEN_WAYS)
    broken = list(range(_ONE_IN // 3, rows, _ONE_IN))
    named = {row: ways[place % len(ways)] for place, row in enumerate(broken)}
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id_str", "ra", "dec", "file_loc"])
        for row in range(rows):
            name = named.get(row, f"{row % files}.jpg")
            writer.writerow([587739505552785605 + row, f"{row % 360}.5", "1.25", f"images/{name}"])
    return path, broken


def write_checkpoint(folder: Path, backend: str, encoder: str, image_size_pix: int) -> Path:
    """An untrained model of a small tree."""
    engine = load_engine(backend)
    schema = Schema.from_pairs({"shape": ["smooth", "disk"], "bar": ["yes", "no"]}, {"bar": "shape_disk"})
    model = engine.finetune.FinetuneableZoobotTree(
        name=encoder, schema=schema, preprocessing={"image_size_pix": image_size_pix}
    )
    engine.checkpoint.save(model, folder)
    return folder
