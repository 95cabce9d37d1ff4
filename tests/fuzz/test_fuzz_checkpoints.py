"""Checkpoint folders from strangers: config.json, safetensors and old pickles, none of which may run code."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from functools import cache

import numpy as np
import pytest
from fuzz_inputs import attempt, fresh_folder, fuzz, json_values, mutated, mutated_config, refused, write
from hypothesis import strategies as st
from safetensors.numpy import save

from zoobot.shared import schemas, tasks
from zoobot.shared.checkpoint import CONFIG_FILE, ENCODER_FILE, HEAD_FILE
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.tensors import read_tensors
from zoobot.shared.files.torch_pickle import read_torch_object, read_torch_pickle
from zoobot.shared.models.encoder_source import EncoderSource, source_from_folder
from zoobot.shared.models.neutral import model_options, read_whole_model
from zoobot.shared.models.public_checkpoint import convert_checkpoint
from zoobot.shared.preprocessing import Preprocessing

TASKS = [
    tasks.ClassificationTask(class_names=("no", "yes"), label_cols=("ring",)),
    tasks.MultiLabelTask(num_labels=2, label_cols=("ring", "bar")),
    tasks.RegressionTask(num_targets=1, label_cols=("T",), unit_interval=True),
    tasks.TreeTask(schema=schemas.get("gz_rings")),
]
TENSORS = {"linear.weight": np.ones((2, 8), "f4"), "linear.bias": np.zeros(2, "f8"), "n": np.array(3)}
SEED_TENSORS = save(TENSORS)
HUB_CONFIG = {
    "architecture": "resnet18",
    "num_classes": 0,
    "num_features": 512,
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "first_conv": "conv1",
        "classifier": "fc",
    },
    "model_args": {"in_chans": 3},
}


def whole_config(task):
    return HUB_CONFIG | {
        "zoobot": {
            "format": 1,
            "task": task.to_config(),
            "head": {"dropout_prob": 0.5},
            "preprocessing": Preprocessing(
                image_size_pix=64, limits=(0, 1), bands=(0, 1, 2), hdu=1
            ).to_config(),
            "training": {"settings": {"n_blocks": 0}},
            "versions": {"zoobot": "1"},
        }
    }


CONFIGS = [HUB_CONFIG, {**HUB_CONFIG["pretrained_cfg"], "architecture": "a"}, *map(whole_config, TASKS)]


def write_folder(config, tensors=SEED_TENSORS):
    folder = fresh_folder()
    (folder / CONFIG_FILE).write_text(json.dumps(config) if not isinstance(config, str) else config)
    (folder / ENCODER_FILE).write_bytes(tensors)
    (folder / HEAD_FILE).write_bytes(tensors)
    return folder


def check_readers(folder):
    neutral = attempt(read_whole_model, folder)
    options = None if refused(neutral) else attempt(model_options, neutral)
    if options is not None and not refused(options):
        assert options[1]["preprocessing"].image_size_pix >= 1
        assert tasks.from_config(neutral.task).num_outputs >= 1
        assert len(set(tasks.from_config(neutral.task).output_columns)) >= 1
    source = attempt(source_from_folder, folder)
    assert refused(source) or isinstance(source, EncoderSource)


@fuzz(200, config=mutated_config(CONFIGS))
def test_a_damaged_config_is_read_or_refused(config):
    check_readers(write_folder(config))


@fuzz(50, config=st.one_of(json_values.map(json.dumps), mutated([json.dumps(CONFIGS[-1]).encode()])))
def test_a_config_of_any_content_is_read_or_refused(config):
    folder = write_folder({})
    (folder / CONFIG_FILE).write_bytes(config if isinstance(config, bytes) else config.encode())
    check_readers(folder)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, '{"architecture": ' + "1" * 5000 + "}"]
)
def test_a_config_without_bottom_is_refused(content):
    assert refused(attempt(read_whole_model, write_folder(content)))


@fuzz(60, config=mutated_config([TASKS[0].to_config(), *(task.to_config() for task in TASKS)]))
def test_a_damaged_task_is_one_or_refused(config):
    task = attempt(tasks.from_config, config)
    if not refused(task):
        assert tasks.from_config(json.loads(json.dumps(task.to_config()))) == task
        assert len(task.output_columns) == task.num_outputs >= 1


preprocessing_config = CONFIGS[-1]["zoobot"]["preprocessing"]


@fuzz(100, config=mutated_config([preprocessing_config]))
def test_damaged_preprocessing_is_one_or_refused(config):
    record = attempt(Preprocessing.from_config, config)
    if not refused(record):
        assert Preprocessing.from_config(json.loads(json.dumps(record.to_config()))) == record


@st.composite
def safetensors_files(draw):
    """Files with a header of their own: shapes, places and types that may not fit the numbers."""
    if draw(st.booleans()):
        return draw(mutated([SEED_TENSORS]))
    (length,) = struct.unpack("<Q", SEED_TENSORS[:8])
    header = json.loads(SEED_TENSORS[8 : 8 + length])
    header = draw(mutated_config([header]))
    for entry in header.values():
        if isinstance(entry, dict) and draw(st.booleans()):
            types = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "U64", "F4", "E8M0"]
            entry["dtype"] = draw(st.sampled_from(types))
        if isinstance(entry, dict) and draw(st.booleans()):
            entry["shape"] = draw(st.lists(st.sampled_from([0, 1, 2, 8, 2**31, 2**62, 2**63]), max_size=4))
    encoded = json.dumps(header).encode()
    shift = draw(st.sampled_from([0, 0, 0, 1, -1, 2**40, 2**63]))
    tail = draw(st.sampled_from([b"", b"\0", b"more"]))
    return struct.pack("<Q", max(0, len(encoded) + shift)) + encoded + SEED_TENSORS[8 + length :] + tail


@fuzz(150, content=safetensors_files())
def test_damaged_tensors_are_read_or_refused(content):
    arrays = attempt(read_tensors, write(ENCODER_FILE, content))
    assert refused(arrays) or all(isinstance(array, np.ndarray) for array in arrays.values())


class _Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def _old_layout(tensors, storages):
    """Bytes as torch wrote them before 1.6, from a pickle of tensors and the numbers behind them."""
    parts = [
        pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ]
    numbers = [struct.pack("<q", len(n)) + n.tobytes() for n in storages.values()]
    return b"".join([*parts, tensors, pickle.dumps(list(storages), protocol=2), *numbers])


def _zip_layout(tensors, storages):
    """Bytes as torch writes them since 1.6."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        members = {"data.pkl": tensors, "byteorder": b"little", "version": b"3"}
        for name, content in (members | {f"data/{k}": n.tobytes() for k, n in storages.items()}).items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), content)
    return stream.getvalue()


# A state dict of one tensor, opcode by opcode, so that torch need not be there.
TENSOR_PICKLE = (
    b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00w"
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06NtQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tRu."
)
LAYOUTS = {"old": _old_layout, "zip": _zip_layout}
GOOD_PICKLES = [make(TENSOR_PICKLE, {"0": np.arange(6, dtype="<f4")}) for make in LAYOUTS.values()]


@pytest.mark.parametrize("content", GOOD_PICKLES)
def test_the_seed_of_the_pickles_is_a_good_one(content):
    arrays = read_torch_pickle(write("w.pth", content))
    np.testing.assert_array_equal(arrays["w"], np.arange(6).reshape(2, 3))


def check_pickle(content):
    arrays = attempt(read_torch_pickle, write("w.pth", content))
    assert refused(arrays) or all(isinstance(array, np.ndarray) for array in arrays.values())
    attempt(read_torch_object, write("w.pth", content), inert=["torch._utils._rebuild_tensor_v3"])


@fuzz(200, content=st.one_of(mutated(GOOD_PICKLES), st.binary(max_size=80)))
def test_a_damaged_pickle_is_read_or_refused(content):
    check_pickle(content)


@fuzz(200, body=mutated([TENSOR_PICKLE]), layout=st.sampled_from(sorted(LAYOUTS)))
def test_a_damaged_pickle_in_a_whole_file_is_read_or_refused(body, layout):
    check_pickle(LAYOUTS[layout](body, {"0": np.arange(6, dtype="<f4")}))


@fuzz(30, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL), place=st.integers(0, 3), wrapped=st.booleans())
def test_a_malicious_pickle_never_runs(protocol, place, wrapped):
    canary = str(fresh_folder() / "canary")
    evil = pickle.dumps(OrderedDict(w=_Evil(canary)) if wrapped else _Evil(canary), protocol=protocol)
    parts = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {}, {})]
    parts[place] = evil
    for content in (b"".join(parts), _zip_layout(evil, {})):
        outcome = attempt(read_torch_pickle, write("w.pth", content))
        assert isinstance(outcome, CheckpointError)
    assert not os.path.exists(canary)


SHAPES = {f"encoder.conv{i}.weight": (4, 3, 3, 3) for i in range(2)} | {
    "head.linear.weight": (2, 4),
    "head.linear.bias": (2,),
}
HYPER = {"num_classes": 2, "label_col": "ring", "head_dropout_prob": 0.5, "name": None, "unit_interval": True}


TREE_HYPER = {
    "question_answer_pairs": {"shape": ["_a", "_b"]},
    "dependencies": {"shape": None},
    "architecture_name": "some_net",
    "dropout_rate": 0.2,
}


def _plain(value):
    """The opcodes of a value, between the start and the end of a pickle."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _tensor(key, shape):
    strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    storage = b"(" + _plain("storage") + b"ctorch\nFloatStorage\n" + _plain(key) + _plain("cpu")
    storage += _plain(int(np.prod(shape))) + b"tQ"
    arguments = b"(" + storage + _plain(0) + _plain(shape) + _plain(strides) + b"\x89}t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def public_checkpoint(hyper, shapes):
    """The pickle and numbers of a Lightning checkpoint, one storage for each tensor."""
    weights = b"".join(
        _plain(name) + _tensor(str(k), shape) for k, (name, shape) in enumerate(shapes.items())
    )
    storages = {str(k): np.ones(int(np.prod(shape)), "<f4") for k, shape in enumerate(shapes.values())}
    parts = [_plain("state_dict"), b"}(" + weights + b"u", _plain("hyper_parameters"), _plain(hyper)]
    return b"\x80\x02}(" + b"".join(parts) + b"u.", storages


@pytest.mark.parametrize("hyper", [HYPER, TREE_HYPER])
def test_the_seed_of_the_public_checkpoints_is_a_good_one(hyper):
    path = write("w.ckpt", _zip_layout(*public_checkpoint(hyper, SHAPES)))
    assert convert_checkpoint(path, architecture="some_net").neutral.num_features == 4


@fuzz(
    120,
    hyper=mutated_config([HYPER, {k: v for k, v in HYPER.items() if k != "num_classes"}, TREE_HYPER]),
    left_out=st.sampled_from([None, *SHAPES]),
    cut=st.booleans(),
    damage=st.one_of(st.none(), st.integers(0, 2**31)),
)
def test_a_public_checkpoint_is_converted_or_refused(hyper, left_out, cut, damage):
    shapes = {n: (s[:-1] if cut and n == left_out else s) for n, s in SHAPES.items() if cut or n != left_out}
    body, storages = public_checkpoint(hyper, shapes)
    if damage is not None:
        place = damage % len(body)
        body = body[:place] + bytes([body[place] ^ (1 + damage % 255)]) + body[place + 1 :]
    found = attempt(convert_checkpoint, write("w.ckpt", _zip_layout(body, storages)), architecture="some_net")
    assert refused(found) or tasks.from_config(found.neutral.task).num_outputs >= 1


@cache
def tiny_checkpoint(engine):
    """The files of a small whole model, by name."""
    made = load_engine(engine).finetune.FinetuneableZoobotClassifier(
        name="test_resnet",
        class_names=["no", "yes"],
        label_cols=["ring"],
        preprocessing={"image_size_pix": 32},
    )
    folder = fresh_folder() / "checkpoint"
    made.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@st.composite
def damaged_folders(draw, engine):
    files = dict(tiny_checkpoint(engine))
    name = draw(st.sampled_from([CONFIG_FILE, CONFIG_FILE, CONFIG_FILE, HEAD_FILE, ENCODER_FILE]))
    if name == CONFIG_FILE:
        files[name] = json.dumps(draw(mutated_config([json.loads(files[name])]))).encode()
    else:
        files[name] = draw(mutated([files[name][:2000]])) + files[name][2000:]
    return files


def check_load(files, engine):
    folder = fresh_folder()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    model = attempt(load_engine(engine).checkpoint.load, folder)
    assert refused(model) or model.task.num_outputs >= 1


@pytest.mark.skipif(not pytest.importorskip("importlib.util").find_spec("timm"), reason="needs timm")
@fuzz(12, files=st.deferred(lambda: damaged_folders("pytorch")))
def test_pytorch_loads_or_refuses_a_damaged_model(files):
    check_load(files, "pytorch")


@pytest.mark.skipif(not pytest.importorskip("importlib.util").find_spec("keras"), reason="needs keras")
@fuzz(6, files=st.deferred(lambda: damaged_folders("tensorflow")))
def test_tensorflow_loads_or_refuses_a_damaged_model(files):
    check_load(files, "tensorflow")
