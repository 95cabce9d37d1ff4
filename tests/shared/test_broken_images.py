"""Broken, hostile and absurd images among good ones: each is told of, and the others are predicted."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import re
import struct
import tarfile
import zipfile
import zlib

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoobot.shared import defaults
from zoobot.shared.catalog import Catalog
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.images import read_image
from zoobot.shared.predicting.members import Member
from zoobot.shared.predicting.run import predict_catalog
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import RegressionTask

fits = pytest.importorskip("astropy.io.fits")

RECORD = Preprocessing(image_size_pix=16, colour="to-rgb", stretch="linear", limits=(0, 255))
GOOD = {"first": 40, "middle": 120, "last": 200}


def galaxy(size=64):
    y, x = np.mgrid[:size, :size] - size / 2
    light = 200 * np.exp(-np.hypot(x, y) / 8)
    noise = np.random.default_rng(0).normal(20, 4, (size, size, 3))
    return np.clip(light[..., None] * [1, 0.8, 0.6] + noise, 0, 255).astype(np.uint8)


def encode(pixels, format_name, *, mode=None, **options):
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(buffer, format_name, **options)
    return buffer.getvalue()


def encode_cv(ending, pixels, *options):
    return cv2.imencode(ending, pixels, list(options))[1].tobytes()


def encode_fits(*hdus):
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


PIXELS = galaxy()
VALUES = PIXELS[..., 0].astype(np.float32)
DEEP = PIXELS.astype(np.uint16) * 200
UNPACKED = (cv2.IMWRITE_TIFF_COMPRESSION, 1)

FORMATS = {
    "jpeg": encode(PIXELS, "JPEG"),
    "progressive jpeg": encode(PIXELS, "JPEG", progressive=True),
    "grey jpeg": encode(PIXELS[..., 0], "JPEG"),
    "cmyk jpeg": encode(PIXELS, "JPEG", mode="CMYK"),
    "png": encode(PIXELS, "PNG"),
    "grey png": encode(PIXELS[..., 0], "PNG"),
    "palette png": encode(PIXELS, "PNG", mode="P"),
    "deep png": encode_cv(".png", DEEP),
    "tiff": encode(PIXELS, "TIFF"),
    "lzw tiff": encode(PIXELS, "TIFF", compression="tiff_lzw"),
    "deflate tiff": encode(PIXELS, "TIFF", compression="tiff_adobe_deflate"),
    "deep tiff": encode_cv(".tif", DEEP, *UNPACKED),
    "float tiff": encode(VALUES, "TIFF"),
    "double tiff": encode_cv(".tif", np.stack([VALUES] * 3, -1).astype(np.float64), *UNPACKED),
    "webp": encode(PIXELS, "WEBP"),
    "lossless webp": encode(PIXELS, "WEBP", lossless=True),
    "fits": encode_fits(fits.PrimaryHDU(VALUES)),
    "scaled fits": encode_fits(fits.PrimaryHDU(VALUES.astype(np.uint16))),
    "gzipped fits": gzip.compress(encode_fits(fits.PrimaryHDU(VALUES))),
    "bzipped fits": bz2.compress(encode_fits(fits.PrimaryHDU(VALUES))),
    "tiled fits": encode_fits(fits.PrimaryHDU(), fits.CompImageHDU(VALUES.astype(np.int32))),
}


@pytest.mark.filterwarnings("ignore")  # of decoders, in their own words
@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_is_refused_or_whole(name, tmp_path):
    """Wherever a file ends, no part of the image is made up: cuts behind the last pixel alone do no harm."""
    data = FORMATS[name]
    path = tmp_path / "galaxy"
    path.write_bytes(data)
    whole = read_image(path, RECORD)
    refused = 0
    cuts = {
        *range(1, 40, 7),
        *(len(data) * k // 24 for k in range(1, 24)),
        *(len(data) - k for k in (1, 3, 13, 60)),
    }
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        for side in (None, 16):
            try:
                pixels = read_image(path, RECORD, least_side_pix=side)
            except ImageError:
                refused += 1
                continue
            if side is None:
                np.testing.assert_array_equal(pixels, whole)
    assert refused > 20


@pytest.mark.parametrize("name", ["jpeg", "grey jpeg", "cmyk jpeg"])
def test_a_jpeg_cut_in_the_middle_with_its_end_mark_mended_is_refused(name, tmp_path):
    data = FORMATS[name]
    for share in (0.75, 0.85, 0.95):
        (tmp_path / "a.jpg").write_bytes(data[: int(share * len(data))] + b"\xff\xd9")
        for side in (None, 16):
            with pytest.raises(ImageError, match="damaged, truncated"):
                read_image(tmp_path / "a.jpg", RECORD, least_side_pix=side)


def png(height, width, *, depth=8, body=b""):
    """A PNG that promises a size; its pixels are `body`, compressed."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def promise(data, pairs):
    """Bytes with some of them replaced."""
    data = bytearray(data)
    for place, new in pairs:
        data[place : place + len(new)] = new
    return bytes(data)


def bomb_jpeg():
    frame = FORMATS["jpeg"].index(b"\xff\xc0")
    return promise(FORMATS["jpeg"], [(frame + 5, struct.pack(">HH", 65500, 65500))])


def bomb_webp():
    data = FORMATS["webp"]
    return promise(data, [(data.index(b"\x9d\x01\x2a") + 3, struct.pack("<HH", 16383, 16383))])


def bomb_tiff():
    data = bytearray(FORMATS["deflate tiff"])
    (start,) = struct.unpack_from("<I", data, 4)
    for i in range(struct.unpack_from("<H", data, start)[0]):
        tag, kind = struct.unpack_from("<HH", data, start + 2 + 12 * i)
        if tag in (256, 257):
            struct.pack_into("<I" if kind == 4 else "<H", data, start + 2 + 12 * i + 8, 60_000)
    return bytes(data)


def bomb_fits(side=10**6):
    header = fits.PrimaryHDU(np.zeros((8, 8), np.float32)).header
    header["NAXIS1"] = header["NAXIS2"] = side
    return header.tostring().encode()


def endless_header():
    return b"SIMPLE  =                    T".ljust(80) + b" " * 6_000_000


def nan_fits():
    return encode_fits(fits.PrimaryHDU(np.full((8, 8), np.nan, np.float32)))


FILES = {
    "empty": (b"", "it is empty"),
    "text": (
        b"not an image at all",
        "not a JPEG, PNG, TIFF, WebP or FITS image: its first bytes are b'not an",
    ),
    "page of an error": (b"<!DOCTYPE html><html>404", "its first bytes are b'<!DOCTYPE html>"),
    "gif": (b"GIF89a" + bytes(50), "its first bytes are b'GIF89a"),
    "zeros": (bytes(1000), "not a JPEG"),
    "pickle": (b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.", "not a JPEG"),
    "numpy": (b"\x93NUMPY\x01\x00", "not a JPEG"),
    "text called gzip": (gzip.compress(b"hello" * 99), "not a readable FITS image"),
    "jpeg header": (FORMATS["jpeg"][:400], "damaged, truncated"),
    "png bomb": (png(60_000, 60_000), "too large.*3600000000 pixels"),
    "deep png bomb": (png(60_000, 60_000, depth=16), "too large: 60,000 × 60,000"),
    "jpeg bomb": (bomb_jpeg(), "too large: 65,500 × 65,500"),
    "webp bomb": (bomb_webp(), "too large.*268402689 pixels"),
    "tiff bomb": (bomb_tiff(), "too large: 60,000 × 60,000"),
    "fits bomb": (bomb_fits(), "too large: 1,000,000 × 1,000,000"),
    "text called bzip2": (bz2.compress(b"hello" * 99), "not a readable FITS image"),
    "bzipped fits bomb": (bz2.compress(bomb_fits()), "too large: 1,000,000 × 1,000,000"),
    "bzipped fits without an end": (bz2.compress(endless_header(), 1), "its header does not end within"),
    "gzipped fits bomb": (gzip.compress(bomb_fits()), "too large: 1,000,000 × 1,000,000"),
    "fits without an end": (endless_header(), "its header does not end within"),
    "gzipped fits without an end": (gzip.compress(endless_header(), 1), "its header does not end within"),
    "nan": (nan_fits(), "not one of its 64 pixels is finite"),
    "no rows": (png(0, 50), "too small|damaged, truncated or not an image"),
    "one pixel": (png(1, 1, body=b"\0\x80"), "too small: 1 × 1"),
    "a line": (encode(np.zeros((1, 60_000), np.uint8), "PNG"), "too small: 1 × 60,000"),
    "a column": (encode(np.zeros((60_000, 1), np.uint8), "JPEG"), "too small: 60,000 × 1"),
    "a line of fits": (
        encode_fits(fits.PrimaryHDU(np.ones((1, 100_000), np.uint8))),
        "too small: 1 × 100,000",
    ),
    "animation": (
        encode(PIXELS, "WEBP", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
        "animated: holds 2 frames",
    ),
}


def link_to_itself(folder):
    (folder / "odd").symlink_to(folder / "odd")


def unreadable(folder):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "odd").write_bytes(FORMATS["jpeg"])
    (folder / "odd").chmod(0)


def in_tar(folder):
    with tarfile.open(folder / "a.tar", "w") as tar:
        info = tarfile.TarInfo("inside")
        info.size = 100
        tar.addfile(info, io.BytesIO(FORMATS["jpeg"][:100]))
    return "a.tar::inside"


def in_cut_tar(folder):
    with tarfile.open(folder / "a.tar", "w") as tar:
        info = tarfile.TarInfo("inside")
        info.size = len(FORMATS["png"])
        tar.addfile(info, io.BytesIO(FORMATS["png"]))
    os.truncate(folder / "a.tar", 1500)
    return "a.tar::inside"


def in_zip(data, **changes):
    def make(folder):
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside", data)
        return changes.get("place", "a.zip::inside")

    return make


def in_parquet(folder):
    pq.write_table(pa.table({"image": [b"text", None]}), folder / "a.parquet")
    return "a.parquet::1"


def in_mosaic(folder):
    (folder / "m.fits").write_bytes(FORMATS["fits"])
    return "m.fits::10,10,8pix"


PLACES = {
    "missing": (lambda folder: None, r"can't be opened \(No such file"),
    "a folder": (lambda folder: (folder / "odd").mkdir(), r"can't be opened \(it is a folder\)"),
    "a pipe": (lambda folder: os.mkfifo(folder / "odd"), "it is no regular file"),
    "a link to a device": (lambda folder: (folder / "odd").symlink_to("/dev/zero"), "it is no regular file"),
    "a link to nothing": (lambda folder: (folder / "odd").symlink_to("gone"), "No such file"),
    "a link to itself": (link_to_itself, "Too many levels of symbolic links"),
    "no permission": (unreadable, "Permission denied"),
    "a file where a folder should be": (lambda folder: "first.png/odd", "Not a directory"),
    "a name too long": (lambda folder: "x" * 5000, "File name too long"),
    "a name with a null": (lambda folder: "a\0b", "can't be opened"),
    "an archive that is not there": (lambda folder: "gone.tar::a.jpg", "No such file"),
    "a cut image in a tar": (in_tar, "damaged, truncated"),
    "an image in a cut tar": (in_cut_tar, "truncated: the tar ends after"),
    "a member that is not there": (in_zip(b"", place="a.zip::gone"), "the zip has no member 'gone'"),
    "an empty member": (in_zip(b""), "it is empty"),
    "a bomb in a zip": (in_zip(png(60_000, 60_000)), "too large.*3600000000 pixels"),
    "an empty cell": (in_parquet, "the row holds no image"),
    "a mosaic without coordinates": (in_mosaic, "no celestial coordinates"),
    "a member of an image": (lambda folder: "first.png::1", "is no tar, zip, Parquet file"),
}

CASES = {
    **{
        name: ((lambda folder, data=data: (folder / "odd").write_bytes(data)), why)
        for name, (data, why) in FILES.items()
    },
    **PLACES,
}


class Brightness:
    """A model that predicts the mean of an image."""

    task = RegressionTask(label_cols=("brightness",))
    preprocessing = RECORD

    def member(self):
        def start(images, remaining):
            values = np.asarray(images, np.float32)
            values = values if values.max() > 1 else values * 255
            return lambda: values.mean(axis=(1, 2, 3))[None, :, None]

        return Member(self, start, "test", lambda: "0")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_it_is_recorded_and_its_neighbours_are_predicted(name, tmp_path):
    make, reason = CASES[name]
    for good, value in GOOD.items():
        Image.new("RGB", (20, 20), (value, value, value)).save(tmp_path / f"{good}.png")
    place = make(tmp_path)
    odd = str(tmp_path / (place if isinstance(place, str) else "odd"))
    paths = {"first": "first.png", "odd one": odd, "middle": "middle.png", "last": "last.png"}
    paths = {galaxy_id: str(tmp_path / path) for galaxy_id, path in paths.items()}
    catalog = Catalog(ids=list(paths), paths=list(paths.values()), labels=None, label_cols=(), table=None)
    found = predict_catalog(
        catalog,
        [Brightness().member()],
        save_loc=None,
        n_samples=1,
        root=None,
        id_col="id_str",
        file_col="file_loc",
        batch_size=3,
        num_workers=2,
        progress=False,
        part_rows=None,
        shard=None,
        max_failures=None,
        decisive={},
    )
    assert found.failures["id_str"].tolist() == ["odd one"]
    assert found.failures["file_loc"].tolist() == [odd]
    (told,) = found.failures["reason"]
    assert re.search(reason, told), told
    assert len(told) < 500
    assert found.table["id_str"].tolist() == list(GOOD)
    np.testing.assert_allclose(found.table.iloc[:, 1], list(GOOD.values()), atol=1e-4)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(("name", "pack"), [("a.fits.gz", gzip.compress), ("a.fits.bz2", bz2.compress)])
def test_a_packed_bomb_before_the_image_is_cut_off(tmp_path, monkeypatch, name, pack):
    big = fits.PrimaryHDU(np.zeros((1000, 1000), np.float32))
    data = encode_fits(big, fits.ImageHDU(VALUES, name="SCI"))
    (tmp_path / name).write_bytes(pack(data))
    record = RECORD.with_changes(hdu="SCI")
    assert read_image(tmp_path / name, record).shape == (64, 64, 3)
    monkeypatch.setattr(defaults, "MAX_IMAGE_BYTES", 1_000_000)
    with pytest.raises(ImageError):
        read_image(tmp_path / name, record)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_large_empty_image_in_a_small_file_is_not_unpacked(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(defaults, "VALUES_IN_ANY_FILE", 10_000)
    monkeypatch.setattr(defaults, "MAX_PACKING", 50)
    noise = np.random.default_rng(3).normal(size=(200, 200)).astype(np.float32)
    for values in (noise, np.zeros((100, 100), np.float32), np.zeros((200, 200), np.float32)):
        file = io.BytesIO()
        fits.PrimaryHDU(values).writeto(file)
        (tmp_path / "a.fits").write_bytes(pack(file.getvalue()))
        if values.any() or values.size <= 10_000:
            assert read_image(tmp_path / "a.fits", RECORD).shape == (*values.shape, 3)
    with pytest.raises(ImageError, match=r"200 × 200 pixels × 1 planes in a file of [0-9,]+ bytes"):
        read_image(tmp_path / "a.fits", RECORD)


@pytest.mark.parametrize("form", ["png", "webp", "tiff"])
def test_a_large_empty_picture_in_a_small_file_is_not_unpacked(tmp_path, monkeypatch, form):
    monkeypatch.setattr(defaults, "VALUES_IN_ANY_FILE", 10_000)
    options = {"webp": {"lossless": True}, "tiff": {"compression": "tiff_deflate"}}.get(form, {})
    Image.new("RGB", (900, 900)).save(tmp_path / f"a.{form}", **options)
    with pytest.raises(ImageError, match=r"900 × 900 pixels × 3 planes in a file of [0-9,]+ bytes"):
        read_image(tmp_path / f"a.{form}", RECORD)


def test_a_zip_s_member_unpacks_to_no_more_than_it_says(tmp_path):
    path, size = tmp_path / "t.zip", 3_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(size))
        archive.writestr("b.png", bytes(20_000_000))
    path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(ImageError, match="Bad CRC-32"):
        read_image(f"{path}::a.png", RECORD)
    with pytest.raises(ImageError, match=r"too large: [0-9,]+ bytes that unpack to 20,000,000"):
        read_image(f"{path}::b.png", RECORD)


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(FORMATS["png"])
    monkeypatch.setattr(defaults, "MAX_IMAGE_BYTES", len(FORMATS["png"]) - 1)
    with pytest.raises(ImageError, match="too large"):
        read_image(tmp_path / "a.png", RECORD)


def tiff_pages(pages, side, compression="tiff_deflate"):
    file = io.BytesIO()
    page = Image.new("L", (side, side))
    page.save(file, "TIFF", save_all=True, append_images=[page] * (pages - 1), compression=compression)
    return file.getvalue()


class TestPagesOfTiff:
    """Pages are looked at one by one, and in sum, before any is decoded."""

    def read(self, tmp_path, content, monkeypatch):
        def decode(picture):
            pytest.fail("a page was decoded")

        (tmp_path / "a.tiff").write_bytes(content)
        monkeypatch.setattr(Image.Image, "load", decode)
        read_image(tmp_path / "a.tiff", RECORD)

    def test_pages_that_are_too_large_together(self, tmp_path, monkeypatch):
        content = tiff_pages(6, 200)
        monkeypatch.setattr(defaults, "MAX_IMAGE_VALUES", 5 * 200**2)
        with pytest.raises(ImageError, match="its first 6 pages together exceed"):
            self.read(tmp_path, content, monkeypatch)

    def test_a_later_page_that_is_too_large(self, tmp_path, monkeypatch):
        file = io.BytesIO()
        Image.new("L", (20, 20)).save(file, "TIFF", save_all=True, append_images=[Image.new("L", (200, 200))])
        monkeypatch.setattr(defaults, "MAX_IMAGE_VALUES", 10_000)
        with pytest.raises(ImageError, match="200 × 200"):
            self.read(tmp_path, file.getvalue(), monkeypatch)

    @pytest.mark.parametrize("big", [False, True])
    def test_too_many_pages(self, tmp_path, monkeypatch, big):
        pages, side = defaults.MAX_TIFF_PAGES + 1, 4
        entries = [(256, side), (257, side), (277, 1)]
        if big:
            head, size = b"II+\0\x08\0\0\0" + (16).to_bytes(8, "little"), 8 + 20 * len(entries) + 8
        else:
            head, size = b"II*\0" + (8).to_bytes(4, "little"), 2 + 12 * len(entries) + 4
        content = head
        for page in range(pages):
            content += len(entries).to_bytes(8 if big else 2, "little")
            for tag, value in entries:
                content += struct.pack("<HHQQ" if big else "<HHII", tag, 4, 1, value)
            last = page == pages - 1
            content += (0 if last else len(head) + (page + 1) * size).to_bytes(8 if big else 4, "little")
        with pytest.raises(ImageError, match="too many pages: more than 1,000"):
            self.read(tmp_path, content, monkeypatch)

    def test_pages_in_a_circle(self, tmp_path, monkeypatch):
        content = b"II*\0\x08\0\0\0" + b"\0\0" + (8).to_bytes(4, "little")
        with pytest.raises(ImageError):
            self.read(tmp_path, content, monkeypatch)

    def test_good_pages_are_planes(self, tmp_path):
        (tmp_path / "a.tiff").write_bytes(tiff_pages(3, 20))
        assert read_image(tmp_path / "a.tiff", RECORD).shape == (20, 20, 3)
