"""What each kind of hostile input costs: seconds of CPU time, memory, and what is said of it.

Each input is made here, and read in a process of its own by what a user would call. It must end, in a right
answer or in an error of ours, within 10 s of CPU time and 500 MB above what the process held before.

    python benchmarks/hostile_inputs.py                 # all kinds, a few minutes
    python benchmarks/hostile_inputs.py --only parquet
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

MOST_SECONDS, MOST_MB = 10.0, 500.0
GIVEN_UP_S = 60

Maker = Callable[[Path], Path]
KINDS: dict[str, tuple[str, Maker]] = {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="part of the names of the kinds to try")
    parser.add_argument("--child", nargs=2, metavar=("READER", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        read_one(*options.child)
        return
    beyond = 0
    print(f"{'kind':42} {'reader':11} {'CPU s':>6} {'MB':>6}  outcome")
    for name, (readers, make) in KINDS.items():
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="zoobot-hostile-") as folder:
            path = make(Path(folder))
            for reader in readers.split():
                told = run_child(reader, path)
                is_good = told["ours"] and told["seconds"] < MOST_SECONDS and told["mb"] < MOST_MB
                beyond += not is_good
                words = told["outcome"].replace(folder, "…")
                words = words if len(words) < 150 else f"{words[:149]}…"
                mark = " " if is_good else "!"
                figures = f"{told['seconds']:6.1f} {told['mb']:6.0f}"
                print(f"{name:42} {reader:11} {figures} {mark}{words}", flush=True)
    print(f"{beyond} beyond the bounds, or with an error that is none of ours")
    sys.exit(bool(beyond))


def run_child(reader: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", reader, str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in child.stdout.splitlines() if line.startswith("{")]
    if not lines:
        words = f"the process ended with {child.returncode}: {child.stderr[-300:]}"
        return {"seconds": 0.0, "mb": 0.0, "ours": False, "outcome": words}
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def read_one(reader: str, path: str) -> None:
    """Read one input, and print what it took and what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (GIVEN_UP_S, GIVEN_UP_S))
    limit = 6 * 2**30
    if reader != "onnx":  # ONNX Runtime reserves more than it takes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    from zoobot.shared.errors import ZoobotError

    read = getattr(Readers, reader)
    before = _peak_mb()
    began = time.process_time()
    try:
        outcome, is_ours = f"read: {read(Path(path))}", True
    except ZoobotError as error:
        outcome, is_ours = f"{type(error).__name__}: {error}", True
    except BaseException as error:  # noqa: BLE001  whatever it is, it is to be reported
        outcome, is_ours = f"{type(error).__name__}: {error}", False
    seconds, mb = time.process_time() - began, _peak_mb() - before
    print(
        json.dumps(
            {"seconds": seconds, "mb": mb, "ours": is_ours, "outcome": " ".join(outcome[:9999].split())}
        )
    )


def _peak_mb() -> float:
    """The most memory that this process held; `ru_maxrss` would count its parent, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


class Readers:
    """What a user calls, by name; imports count, as they do for the user."""

    @staticmethod
    def catalog(path: Path) -> Any:
        """The whole catalog."""
        from zoobot.shared.catalog import read_catalog

        return read_catalog(path, check_files=False)

    @staticmethod
    def stream(path: Path) -> Any:
        """The catalog in parts."""
        from zoobot.shared.catalogs.stream import CatalogStream

        stream = CatalogStream(path)
        return sum(len(part.galaxies) for part in stream.parts(1000))

    @staticmethod
    def images(path: Path) -> Any:
        """Every image, as training reads them."""
        from zoobot.shared.catalog import read_catalog
        from zoobot.shared.loader import GalaxyLoader
        from zoobot.shared.preprocessing import Preprocessing

        loader = GalaxyLoader(read_catalog(path), Preprocessing(image_size_pix=64), max_failed_fraction=1.0)
        read = sum(len(batch.ids) for batch in loader)
        return f"{read} images; failures: {[failure.reason for failure in loader.failures][:1]}"

    @staticmethod
    def image(path: Path) -> Any:
        """One image."""
        from zoobot.shared.pixels.images import read_image
        from zoobot.shared.preprocessing import Preprocessing

        return read_image(path, Preprocessing(image_size_pix=64)).shape

    @staticmethod
    def predictions(path: Path) -> Any:
        """A table of predictions."""
        from zoobot.shared.predictions import read_predictions

        return read_predictions(path).shape

    @staticmethod
    def onnx(path: Path) -> Any:
        """An exported model."""
        from zoobot.shared.onnx.model import OnnxModel

        return OnnxModel(path).task

    @staticmethod
    def weights(path: Path) -> Any:
        """An encoder's weights."""
        from zoobot.shared.checkpoint import read_encoder_file

        return len(read_encoder_file(path))

    @staticmethod
    def convert(path: Path) -> Any:
        """A checkpoint of the public Zoobot."""
        from zoobot.shared.models.public_checkpoint import convert_checkpoint

        return convert_checkpoint(path)

    @staticmethod
    def schema(path: Path) -> Any:
        """A decision tree."""
        from zoobot.shared.trees.tree import Schema

        return Schema.from_yaml(path)

    @staticmethod
    def features(path: Path) -> Any:
        """What a loop keeps."""
        from zoobot.workflow.loop import read_known

        return [part.shape for part in read_known(path, ["a", "b"])]

    @staticmethod
    def settings(path: Path) -> Any:
        """How files become images."""
        from zoobot.shared.preprocessing import Preprocessing

        return Preprocessing.from_config(json.loads(path.read_text()))


def kind(name: str, readers: str) -> Callable[[Maker], Maker]:
    def keep(make: Maker) -> Maker:
        KINDS[name] = (readers, make)
        return make

    return keep


def _write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


TABLES = "catalog stream"
FIELDS = "".join(f'<FIELD name="{name}" datatype="char" arraysize="*"/>' for name in ("id_str", "file_loc"))


def _votable(data: str, before: str = "") -> str:
    table = f"<TABLE>{FIELDS}<DATA>{data}</DATA></TABLE>"
    start = f'<?xml version="1.0"?>{before}<VOTABLE version="1.3">'
    return f"{start}<RESOURCE>{table}</RESOURCE></VOTABLE>"


for _scheme in ("http://127.0.0.1:9/a", "file:///etc/passwd"):

    @kind(f"VOTable, data at {_scheme.partition(':')[0]}", TABLES)
    def _href(folder: Path, address: str = _scheme) -> Path:
        stream = f'<BINARY><STREAM href="{address}"/></BINARY>'
        return _write(folder / "t.vot", _votable(stream))


@kind("VOTable, entities", TABLES)
def _entities(folder: Path) -> Path:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    doctype = f'<!DOCTYPE V [<!ENTITY l0 "{"ha" * 10}">{laughs}]>'
    return _write(
        folder / "t.vot", _votable("<TABLEDATA><TR><TD>&l11;</TD><TD>a</TD></TR></TABLEDATA>", doctype)
    )


@kind("VOTable, gzipped stream of zeros", TABLES)
def _votable_bomb(folder: Path) -> Path:
    import base64

    packed = base64.b64encode(gzip.compress(bytes(50_000_000))).decode()
    fields = '<STREAM encoding="base64 gzip">'
    return _write(folder / "t.vot", _votable(f"<BINARY>{fields}{packed}</STREAM></BINARY>"))


@kind("HDF5, external link", "predictions")
def _external_link(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "t.h5", "w") as file:
        file["columns"], file["id_str"] = ["f0"], np.array([b"a", b"b"])
        file["predictions"] = h5py.ExternalLink("/etc/passwd", "a")
    return folder / "t.h5"


@kind("HDF5, 10¹² rows", "predictions")
def _hdf5_rows(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "t.h5", "w") as file:
        file["columns"] = ["f0"]
        file.create_dataset("id_str", (10**12,), "S8", chunks=(1024,))
        file.create_dataset("predictions", (10**12, 1), "f4", chunks=(1024, 1))
    return folder / "t.h5"


def _onnx_model(folder: Path, nodes: list, constants: list, **saved: Any) -> Path:
    import onnx

    from zoobot.shared import tasks
    from zoobot.shared.onnx.model import FORMAT, METADATA_KEY
    from zoobot.shared.preprocessing import Preprocessing

    helper, kinds = onnx.helper, onnx.TensorProto
    images = helper.make_tensor_value_info("images", kinds.FLOAT, ["batch", 32, 32, 3])
    output = helper.make_tensor_value_info("predictions", kinds.FLOAT, ["batch", 2])
    mean = helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0)
    first = helper.make_node("Slice", ["mean", "from", "to", "last"], ["m"])
    tensors = [
        helper.make_tensor(name, kinds.INT64, [1], [value])
        for name, value in (("from", 0), ("to", 2), ("last", 1))
    ]
    tensors += [helper.make_tensor("axes", kinds.INT64, [2], [1, 2])]
    tensors += [helper.make_tensor(*constant) for constant in constants]
    graph = helper.make_graph([mean, first, *nodes], "g", [images], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    task = tasks.ClassificationTask(class_names=("a", "b"))
    told = {
        "format": FORMAT,
        "task": task.to_config(),
        "preprocessing": Preprocessing(image_size_pix=32).to_config(),
    }
    helper.set_model_props(model, {METADATA_KEY: json.dumps(told)})
    onnx.save(model, folder / "m.onnx", **saved)
    return folder / "m.onnx"


@kind("ONNX, weights in another file", "onnx")
def _onnx_outside(folder: Path) -> Path:
    import onnx

    add = onnx.helper.make_node("Add", ["m", "w"], ["predictions"])
    outside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    weights = ("w", onnx.TensorProto.FLOAT, [2], np.ones(2, np.float32).tobytes(), True)
    return _onnx_model(folder, [add], [weights], **outside)


@kind("ONNX, a loop without end", "onnx")
def _onnx_loop(folder: Path) -> Path:
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    ends = [("i", kinds.INT64, []), ("on", kinds.BOOL, []), ("s", kinds.FLOAT, ["n", 2])]
    out = [("still", kinds.BOOL, []), ("next", kinds.FLOAT, ["n", 2])]
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Mul", ["s", "one"], ["next"])],
        "body",
        [helper.make_tensor_value_info(*end) for end in ends],
        [helper.make_tensor_value_info(*end) for end in out],
    )
    loop = helper.make_node("Loop", ["trips", "go", "m"], ["predictions"], body=body)
    constants = [
        ("trips", kinds.INT64, [], [2**60]),
        ("go", kinds.BOOL, [], [True]),
        ("one", kinds.FLOAT, [1], [1.0]),
    ]
    return _onnx_model(folder, [loop], constants)


for _size in (10**9, 10**13):

    @kind(f"ONNX, asks for {4 * _size / 1e9:g} GB", "onnx")
    def _onnx_memory(folder: Path, size: int = _size) -> Path:
        import onnx

        helper = onnx.helper
        # a batch's size, so that nothing is computed while the graph is opened
        nodes = [
            helper.make_node("Shape", ["images"], ["shape"], start=0, end=1),
            helper.make_node("Mul", ["shape", "many"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Add", ["m", "sum"], ["predictions"]),
        ]
        return _onnx_model(folder, nodes, [("many", onnx.TensorProto.INT64, [1], [size])])


@kind("ONNX, a constant of 40 GB folded on opening", "onnx")
def _onnx_folded(folder: Path) -> Path:
    import onnx

    helper = onnx.helper
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["m", "sum"], ["predictions"]),
    ]
    return _onnx_model(folder, nodes, [("size", onnx.TensorProto.INT64, [1], [10**10])])


def _tiff(folder: Path, side: int, pages: int, compression: str) -> Path:
    from PIL import Image

    page = Image.new("L", (side, side))
    page.save(folder / "a.tiff", save_all=True, append_images=[page] * (pages - 1), compression=compression)
    return folder / "a.tiff"


@kind("TIFF, six pages of 13,000²", "image")
def _tiff_bomb(folder: Path) -> Path:
    return _tiff(folder, 13_000, 6, "tiff_deflate")


@kind("TIFF, 20,000 pages", "image")
def _tiff_pages(folder: Path) -> Path:
    entries = [(256, 4), (257, 4), (277, 1)]
    size = 2 + 12 * len(entries) + 4
    content = io.BytesIO()
    content.write(b"II*\0" + (8).to_bytes(4, "little"))
    for page in range(20_000):
        content.write(len(entries).to_bytes(2, "little"))
        content.writelines(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        content.write((0 if page == 19_999 else 8 + (page + 1) * size).to_bytes(4, "little"))
    return _write(folder / "a.tiff", content.getvalue())


def _parquet(folder: Path, value: Any, rows: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([value]))
    pq.write_table(
        pa.table({"id_str": column, "file_loc": column}), folder / "t.parquet", row_group_size=rows
    )
    return folder / "t.parquet"


@kind("Parquet, 60 kB by a dictionary 1,000,000 times", TABLES)
def _parquet_dictionary(folder: Path) -> Path:
    return _parquet(folder, "x" * 60_000, 1_000_000)


@kind("Parquet, 600 bytes by a dictionary 300,000 times", TABLES)
def _parquet_small(folder: Path) -> Path:
    return _parquet(folder, "x" * 600, 300_000)


@kind("Parquet, a number 50,000,000 times", TABLES)
def _parquet_numbers(folder: Path) -> Path:
    return _parquet(folder, 7, 50_000_000)


@kind("Parquet of images, 1 MB said 600 times", "image")
def _parquet_images(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = pa.schema([("image", "binary")])
    with pq.ParquetWriter(folder / "t.parquet", images, compression="zstd") as file:
        file.write_table(pa.table([[bytes(10**6)] * 600], schema=images))
    return folder / "t.parquet::7"


def _zigzag(number: int, width: int = 0) -> bytes:
    """A number as Thrift writes it; padded with what adds nothing."""
    number, out = 2 * number, bytearray()
    while number > 127 or len(out) + 1 < width:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _plain_parquet(folder: Path, rows: int, length: int, **options: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.array([f"{i:08}{'x' * length}" for i in range(rows)])
    names = pa.array([f"{i}.jpg" for i in range(rows)])
    options = {"compression": "zstd", "use_dictionary": False, **options}
    pq.write_table(pa.table({"id_str": names, "file_loc": texts}), folder / "t.parquet", **options)
    return folder / "t.parquet"


@kind("Parquet, pages that unpack to 600 MB", TABLES)
def _parquet_pages(folder: Path) -> Path:
    return _plain_parquet(folder, 1200, 500_000)


@kind("Parquet, the same, with a footer that lies", TABLES)
def _parquet_lies(folder: Path) -> Path:
    import pyarrow.parquet as pq

    path = _plain_parquet(folder, 1200, 500_000)
    size = pq.read_metadata(path).row_group(0).column(1).total_uncompressed_size
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    wanted = _zigzag(size)
    return _write(path, content[:footer] + content[footer:].replace(wanted, _zigzag(9000, len(wanted))))


@kind("Parquet, texts by what they share with the last", TABLES)
def _parquet_delta(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    long = "x" * 1_000_000
    names = pa.schema([("id_str", "string"), ("file_loc", "string")])
    encodings = dict.fromkeys(names.names, "DELTA_BYTE_ARRAY")
    options = {"compression": "zstd", "use_dictionary": False, "column_encoding": encodings}
    with pq.ParquetWriter(folder / "t.parquet", names, **options) as file:
        for group in range(4):
            texts = [f"{long}{i}" for i in range(300 * group, 300 * group + 300)]
            file.write_table(pa.table([[str(i) for i in range(300)], texts], schema=names))
    return folder / "t.parquet"


@kind("FITS, NAXIS2 = 10¹²", TABLES)
def _fits_rows(folder: Path) -> Path:
    from astropy.table import Table

    Table({"id_str": ["a"], "file_loc": ["b"]}).write(folder / "t.fits")
    content = (folder / "t.fits").read_bytes()
    card = f"NAXIS2  = {1:>20}".encode()
    return _write(folder / "t.fits", content.replace(card, f"NAXIS2  = {10**12:>20}".encode()))


def _gzip(folder: Path, name: str, start: bytes, piece: bytes, times: int) -> Path:
    """A packed file; members follow each other, so that it is soon made."""
    packed = gzip.compress(piece)
    return _write(folder / name, gzip.compress(start) + packed * times)


@kind("CSV.gz, a cell of 1 GB", TABLES)
def _csv_cell(folder: Path) -> Path:
    return _gzip(folder, "t.csv.gz", b"id_str,file_loc\n1,", b"a" * 2**24, 64)


@kind("CSV, a cell of 300 MB", TABLES)
def _csv_loose_cell(folder: Path) -> Path:
    with (folder / "t.csv").open("wb") as file:
        file.write(b"id_str,file_loc\n1,")
        for _ in range(300):
            file.write(b"a" * 10**6)
    return folder / "t.csv"


@kind("CSV.gz, 30,000,000 tiny rows", TABLES)
def _csv_rows(folder: Path) -> Path:
    return _gzip(folder, "t.csv.gz", b"id_str,file_loc\n", b"1,a\n" * 2**20, 30)


@kind("CSV.gz, 60,000,000 empty lines", TABLES)
def _csv_lines(folder: Path) -> Path:
    return _gzip(folder, "t.csv.gz", b"id_str,file_loc\n1,a\n", b"\n" * 2**22, 15)


@kind("CSV, a header of 100,000 columns", TABLES)
def _csv_header(folder: Path) -> Path:
    names = ",".join(f"c{i}" for i in range(100_000))
    return _write(folder / "t.csv", f"id_str,file_loc,{names}\n1,a\n")


@kind("ECSV, anchors", TABLES)
def _ecsv(folder: Path) -> Path:
    laughs = "".join(f"# - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    return _write(
        folder / "t.ecsv", f"# %ECSV 1.0\n# ---\n# datatype:\n# - &a0 [a, b]\n{laughs}id_str file_loc\n1 a\n"
    )


@kind("safetensors of 1,000,000 tensors", "weights")
def _safetensors(folder: Path) -> Path:
    entries = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(1_000_000)}
    header = json.dumps(entries).encode()
    return _write(folder / "a.safetensors", len(header).to_bytes(8, "little") + header)


@kind("safetensors of a shape of 10¹² zeros", "weights")
def _safetensors_shape(folder: Path) -> Path:
    shape = [0] * 900_000
    header = json.dumps({"t": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    return _write(folder / "a.safetensors", len(header).to_bytes(8, "little") + header)


WEIGHTS = "weights convert"


def _torch_zip(
    folder: Path, body: bytes, compress: int = zipfile.ZIP_STORED, storage: bytes = bytes(24)
) -> Path:
    with zipfile.ZipFile(folder / "a.ckpt", "w", compress) as archive:
        for name, content in (
            ("data.pkl", body),
            ("byteorder", b"little"),
            ("data/0", storage),
            ("version", b"3\n"),
        ):
            archive.writestr(f"a/{name}", content)
    return folder / "a.ckpt"


@kind("torch zip, a global that runs code", WEIGHTS)
def _torch_global(folder: Path) -> Path:
    return _torch_zip(folder, b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueq\x00\x85R.")


@kind("torch zip, lists within lists doubled 60 times", WEIGHTS)
def _torch_memo(folder: Path) -> Path:
    doubled = b"".join(b"(h%ch%ctq%c0" % (n, n, n + 1) for n in range(60))
    return _torch_zip(folder, b"\x80\x02]q\x000" + doubled + b"}X\x01\x00\x00\x00wh\x3cs.")


@kind("torch zip, a memo of 2³¹ objects", WEIGHTS)
def _torch_memo_size(folder: Path) -> Path:
    return _torch_zip(folder, b"\x80\x02K\x01r\xff\xff\xff\x7f.")


def _tensor(shape: tuple[int, ...], strides: tuple[int, ...], numel: int = 6) -> bytes:
    def ints(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(pickle.dumps(v, 2)[2:-1] for v in values) + b"t"

    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    pid += pickle.dumps(numel, 2)[2:-1] + b"tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"K\x00" + ints(shape) + ints(strides)
    return rebuilt + b"\x89ccollections\nOrderedDict\n)RtR"


@kind("torch zip, storage repeated by strides of 0", WEIGHTS)
def _torch_overlap(folder: Path) -> Path:
    return _torch_zip(folder, b"\x80\x02}X\x01\x00\x00\x00w" + _tensor((100_000, 100_000), (0, 0)) + b"s.")


@kind("torch zip, 40,000 views of one storage", WEIGHTS)
def _torch_views(folder: Path) -> Path:
    count = 2**20
    views = b"".join(b"X\x05\x00\x00\x00%05d" % i + _tensor((count,), (1,), count) for i in range(40_000))
    return _torch_zip(folder, b"\x80\x02}(" + views + b"u.", storage=bytes(4 * count))


@kind("torch zip, deflated 100 MB", WEIGHTS)
def _torch_deflated(folder: Path) -> Path:
    return _torch_zip(
        folder,
        b"\x80\x02}X\x01\x00\x00\x00w" + _tensor((2,), (1,)) + b"s.",
        zipfile.ZIP_DEFLATED,
        bytes(10**8),
    )


@kind("torch zip, a pickle of 10,000,000 steps", WEIGHTS)
def _torch_steps(folder: Path) -> Path:
    return _torch_zip(folder, b"\x80\x02(" + b"]" * 10_000_000 + b"l.")


def _png(folder: Path, width: int, height: int, depth: int, colour: int) -> Path:
    """Of zeros, packed without holding them."""
    planes = {0: 1, 2: 3, 6: 4}[colour]
    packer, packed = zlib.compressobj(9), io.BytesIO()
    row = bytes(1 + width * planes * depth // 8)
    for _ in range(height):
        packed.write(packer.compress(row))
    packed.write(packer.flush())

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return _write(
        folder / "a.png",
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed.getvalue()) + chunk(b"IEND", b""),
    )


@kind("PNG of 60,000²", "image")
def _png_bomb(folder: Path) -> Path:
    path = _png(folder, 100, 100, 8, 0)
    content = path.read_bytes()
    size = struct.pack(">II", 60_000, 60_000)
    head = b"IHDR" + size + content[24:29]
    return _write(
        path, content[:8] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    )


for _name, _shape in {
    "16 bits, 9,000² in colour": (9000, 9000, 16, 2),
    "8 bits, 16,000² grey": (16_000, 16_000, 8, 0),
    "8 bits, 8,000² with alpha": (8000, 8000, 8, 6),
}.items():

    @kind(f"PNG of {_name}", "image")
    def _png_allowed(folder: Path, shape: tuple[int, int, int, int] = _shape) -> Path:
        return _png(folder, *shape)


@kind("WebP of 16,383²", "image")
def _webp(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (9000, 9000)).save(folder / "a.webp", lossless=True, method=0)
    return folder / "a.webp"


@kind("JPEG of 9,000²", "image")
def _jpeg(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (9000, 9000)).save(folder / "a.jpg")
    return folder / "a.jpg"


@kind("FITS image of 16,000² in gzip", "image")
def _fits_image(folder: Path) -> Path:
    from astropy.io import fits

    header = fits.Header(
        [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 16_000), ("NAXIS2", 16_000)]
    )
    start = header.tostring().encode()
    return _gzip(folder, "a.fits.gz", start, bytes(16_000_000), 64)


@kind("tar, a member larger than the file", "images")
def _tar(folder: Path) -> Path:
    with tarfile.open(folder / "t.tar", "w") as archive:
        for name in ("a.png", "b.png"):
            info = tarfile.TarInfo(name)
            info.size = 100
            archive.addfile(info, io.BytesIO(bytes(100)))
    content = bytearray((folder / "t.tar").read_bytes())
    content[1024 + 124 : 1024 + 136] = b"77777777777\0"
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024 : 1024 + 512])
    return _write(folder / "t.tar", bytes(content))


@kind("zip, members that lie about their size", "images")
def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(500_000_000))
    content = (folder / "t.zip").read_bytes()
    return _write(
        folder / "t.zip", content.replace((500_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    )


@kind("zip, members that unpack to 3 GB", "images")
def _zip_honest(folder: Path) -> Path:
    with (
        zipfile.ZipFile(folder / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.png", "w", force_zip64=True) as file,
    ):
        for _ in range(96):
            file.write(bytes(2**25))
    return folder / "t.zip"


@kind("zip, 100,000 members", "images")
def _zip_members(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "t.zip", "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.png", b"")
    return folder / "t.zip"


@kind("schema, anchors", "schema")
def _yaml(folder: Path) -> Path:
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 14))
    answers = "questions: {q: {answers: *a13}}\n"
    return _write(folder / "s.yaml", f"name: t\na0: &a0 [x, x]\n{laughs}{answers}")


@kind("schema, anchors among the answers", "schema")
def _yaml_answers(folder: Path) -> Path:
    laughs = "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 14))
    return _write(folder / "s.yaml", f"name: t\nquestions:\n- &a0 [x, x]\n{laughs}")


@kind("schema of 100,000 answers", "schema")
def _yaml_long(folder: Path) -> Path:
    answers = "".join(f"    - a{i}\n" for i in range(100_000))
    return _write(folder / "s.yaml", f"name: t\nquestions:\n- question: q\n  answers:\n{answers}")


def _npz(folder: Path, members: dict[str, bytes]) -> Path:
    packed = max(map(len, members.values())) > 10**6
    form = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(folder / "features.npz", "w", form) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return folder / "features.npz"


def _npy(descr: str, shape: str, content: bytes) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + content


def _npz_kinds() -> Iterator[tuple[str, dict[str, bytes]]]:
    ids = _npy("<U1", "(2,)", "ab".encode("utf-32-le"))
    yield (
        "objects",
        {"ids": _npy("|O", "(2,)", pickle.dumps(["a", "b"])), "features": _npy("<f4", "(2, 1)", bytes(8))},
    )
    yield (
        "another galaxy",
        {"ids": _npy("<U1", "(2,)", "xy".encode("utf-32-le")), "features": _npy("<f4", "(2, 1)", bytes(8))},
    )
    yield "10¹² numbers promised", {"ids": ids, "features": _npy("<f4", "(2, 500000000000)", bytes(8))}
    yield "1 GB of zeros", {"ids": ids, "features": _npy("<f4", "(2, 125000000)", bytes(10**9))}
    yield "features missing", {"ids": ids}


for _what, _members in _npz_kinds():

    @kind(f"features.npz, {_what}", "features")
    def _npz_made(folder: Path, members: dict[str, bytes] = _members) -> Path:
        return _npz(folder, members)


@kind("features.npz, no zip at all", "features")
def _npz_not(folder: Path) -> Path:
    return _write(folder / "features.npz", b"hello")


@kind("crop_fraction = 1e-300", "settings")
def _crop(folder: Path) -> Path:
    from zoobot.shared.preprocessing import Preprocessing

    config = {**Preprocessing().to_config(), "crop_fraction": 1e-300}
    return _write(folder / "p.json", json.dumps(config))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
