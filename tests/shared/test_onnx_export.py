"""ONNX files: described, checked, written whole, and read without an engine. The graph is built by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from zoobot.shared.errors import CheckpointError, ConfigError, ExportError, MissingPackageError, WriteError
from zoobot.shared.onnx import export as onnx_export
from zoobot.shared.onnx.export import check_export, write_onnx
from zoobot.shared.onnx.model import METADATA_KEY, OnnxModel
from zoobot.shared.predicting.run import predict_exported
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import RegressionTask

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODEL = SimpleNamespace(
    task=RegressionTask(num_targets=3, label_cols=("r", "g", "b")),
    preprocessing=Preprocessing(image_size_pix=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
)


def mean_colours(images):
    return images.mean(axis=(1, 2))


def write_mean_colours(path, axes=(1, 2)):
    """The graph of `mean_colours`, with names that a converter might choose."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [2], axes)
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x:0", "axes"], ["Identity:0"], keepdims=0)],
        "colours",
        [helper.make_tensor_value_info("x:0", kind, ["unk__1", 8, 8, 3])],
        [helper.make_tensor_value_info("Identity:0", kind, ["unk__2", 3])],
        [axes],
    )
    opsets = [helper.make_opsetid("", onnx_export.OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


@pytest.fixture
def exported(tmp_path):
    return write_onnx(check_export(tmp_path / "new" / "m.onnx"), MODEL, write_mean_colours, mean_colours)


def test_a_file_tells_all_that_prediction_needs(exported):
    model = OnnxModel(exported)
    assert model.task == MODEL.task
    assert model.preprocessing == MODEL.preprocessing
    assert "zoobot" in model.versions
    stored = onnx.load(exported)
    told = json.loads(next(p.value for p in stored.metadata_props if p.key == METADATA_KEY))
    assert told["columns"] == ["r_predicted", "g_predicted", "b_predicted"]
    assert [end.name for end in (*stored.graph.input, *stored.graph.output)] == ["images", "predictions"]
    onnx.checker.check_model(stored)


def test_8_bit_and_float_images_of_any_batch(exported):
    model = OnnxModel(exported)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    expected = mean_colours(images / 255)
    np.testing.assert_allclose(model.predict_images(images), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_images(images[:1] / 255), expected[:1], atol=1e-6)


def test_a_file_that_predicts_otherwise_is_not_written(tmp_path, exported):
    before = exported.read_bytes()
    with pytest.raises(ExportError, match=r"they differ by .*e-0\d, and 1e-04 is allowed"):
        write_onnx(exported, MODEL, write_mean_colours, lambda images: mean_colours(images) + 2e-4)
    with pytest.raises(ExportError, match="other numbers"):
        write_onnx(exported, MODEL, write_mean_colours, lambda images: mean_colours(images) * np.nan)
    assert exported.read_bytes() == before
    assert list(exported.parent.iterdir()) == [exported]


def test_a_network_that_cannot_be_converted_is_said_so(tmp_path):
    def convert(path):
        msg = "no operation\n Foo"
        raise NotImplementedError(msg)

    with pytest.raises(
        ExportError, match="can't be converted to ONNX: NotImplementedError: no operation Foo"
    ):
        write_onnx(tmp_path / "m.onnx", MODEL, convert, mean_colours)
    assert not list(tmp_path.iterdir())


def test_only_onnx_files_and_only_with_the_packages(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"ends in \.onnx, got 'm\.pt'"):
        check_export("m.pt")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError, match="got a folder"):
        check_export(tmp_path / "folder.onnx")
    with pytest.raises(MissingPackageError, match=r"pip install zoobot\[onnx\]"):
        check_export(tmp_path / "m.onnx", "no_such_converter")


def test_files_that_are_no_exported_models(tmp_path, exported):
    with pytest.raises(CheckpointError, match="does not exist"):
        OnnxModel(tmp_path / "none.onnx")
    (tmp_path / "torn.onnx").write_bytes(exported.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"torn\.onnx is damaged"):
        OnnxModel(tmp_path / "torn.onnx")
    write_mean_colours(tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="says nothing of its task"):
        OnnxModel(tmp_path / "foreign.onnx")


def test_a_newer_format_is_refused(tmp_path, exported):
    model = onnx.load(exported)
    told = json.loads(model.metadata_props[0].value) | {"format": 99}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(told)})
    onnx.save(model, tmp_path / "newer.onnx")
    with pytest.raises(CheckpointError, match="has format 99, this Zoobot reads up to 1"):
        OnnxModel(tmp_path / "newer.onnx")


def test_a_catalog_is_predicted_without_an_engine(exported, tiny_survey, tmp_path):
    table = predict_exported(tiny_survey, exported, batch_size=7, progress=False).table
    assert list(table.columns) == ["id_str", *MODEL.task.output_columns]
    assert len(table) == 24
    saved = predict_exported(
        tiny_survey, [exported, exported], save_loc=tmp_path / "p.parquet", progress=False
    )
    assert sorted(set(saved.table["sample"])) == [0, 1]
    with pytest.raises(ConfigError, match="without dropout, so n_samples must be 1, got 3"):
        predict_exported(tiny_survey, exported, n_samples=3, progress=False)


def test_a_full_disk_leaves_the_older_file(tmp_path, exported, monkeypatch):
    before = exported.read_bytes()

    def full(_, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save", full)
    with pytest.raises(WriteError, match="No space left on device; the older file is kept"):
        write_onnx(exported, MODEL, lambda path: path.write_bytes(before), mean_colours)
    assert exported.read_bytes() == before
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def hostile(path, exported, nodes, constants):
    """An exported model whose graph has these nodes between the mean colours, "m", and the predictions."""
    model, helper = onnx.load(exported), onnx.helper
    graph = model.graph
    graph.node[0].output[0] = "m"
    graph.node.extend(nodes)
    graph.initializer.extend(helper.make_tensor(name, kind, dims, v) for name, kind, dims, v in constants)
    onnx.save(model, path)
    return path


def test_a_graph_that_never_ends_is_given_up(tmp_path, exported, monkeypatch):
    monkeypatch.setenv("ZOOBOT_ONNX_SECONDS", "0.2")
    helper, kinds = onnx.helper, onnx.TensorProto
    ends = [("i", kinds.INT64, []), ("on", kinds.BOOL, []), ("s", kinds.FLOAT, ["n", 3])]
    out = [("still", kinds.BOOL, []), ("next", kinds.FLOAT, ["n", 3])]
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
    with pytest.raises(CheckpointError, match=r"end within 0.2 seconds of CPU time .* ZOOBOT_ONNX_SECONDS"):
        OnnxModel(hostile(tmp_path / "loop.onnx", exported, [loop], constants))
    monkeypatch.setenv("ZOOBOT_ONNX_SECONDS", "soon")
    with pytest.raises(ConfigError, match="must be a number above 0, got 'soon'"):
        OnnxModel(exported)


def test_a_graph_that_asks_for_all_memory_is_refused(tmp_path, exported):
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["m", "sum"], ["predictions"]),
    ]
    constants = [("size", kinds.INT64, [1], [10**13])]
    with pytest.raises(CheckpointError, match=r"asks for more than 16 GB .* ZOOBOT_ONNX_GIGABYTES"):
        OnnxModel(hostile(tmp_path / "big.onnx", exported, nodes, constants))
