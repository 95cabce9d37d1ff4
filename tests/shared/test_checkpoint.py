import json
import os
import shutil
import struct
import sys

import numpy as np
import pytest

from zoobot.shared import checkpoint as checkpoint_module
from zoobot.shared.checkpoint import (
    CONFIG_FILE,
    ENCODER_FILE,
    FORMAT,
    HEAD_FILE,
    NeutralCheckpoint,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from zoobot.shared.errors import CheckpointError, EncoderError, WriteError
from zoobot.shared.files.tensors import LARGEST_HEADER, read_tensors
from zoobot.shared.models.encoder_source import source_from_folder
from zoobot.shared.models.neutral import read_whole_model
from zoobot.shared.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(image_size_pix=64, channels=5, colour="as-is", mean=(0.1,) * 5, std=(0.2,) * 5)


def make_checkpoint(**changes):
    rng = np.random.default_rng(0)
    fields = {
        "architecture": "convnext_atto",
        "encoder": {
            "stem.0.weight": rng.normal(size=(8, 5, 4, 4)).astype("f4"),
            "bn.num_batches_tracked": np.array(7, "i8"),
        },
        "num_features": 8,
        "pretrained_cfg": {"input_size": [5, 64, 64], "first_conv": "stem.0"},
        "model_args": {"in_chans": 5},
        "preprocessing": PREPROCESSING.to_config(),
        "task": {"kind": "classification", "label_cols": ["ring"]},
        "head": {"dropout_prob": 0.5},
        "head_tensors": {"linear.weight": rng.normal(size=(2, 8)).astype("f4")},
        "training": {"best_epoch": 3},
    }
    return NeutralCheckpoint(**{**fields, **changes})


def assert_same_arrays(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        np.testing.assert_array_equal(actual[name], array)


def test_round_trip_keeps_everything(tmp_path):
    written = make_checkpoint(versions={"torch": "2.9"})
    folder = write_checkpoint(tmp_path / "runs" / "rings", written)
    back = read_checkpoint(str(folder))
    assert_same_arrays(back.encoder, written.encoder)
    assert_same_arrays(back.head_tensors, written.head_tensors)
    for name in ("architecture", "num_features", "model_args", "preprocessing", "task", "head", "training"):
        assert getattr(back, name) == getattr(written, name)
    assert Preprocessing.from_config(back.preprocessing) == PREPROCESSING
    assert back.versions["torch"] == "2.9"
    assert back.versions["zoobot"]
    assert back.pretrained_cfg["num_classes"] == 0
    assert sorted(os.listdir(folder)) == [CONFIG_FILE, HEAD_FILE, ENCODER_FILE]
    assert os.listdir(tmp_path / "runs") == ["rings"]


def test_arrays_in_any_memory_order_are_written_in_torchs(tmp_path):
    array = np.arange(24, dtype="f4").reshape(2, 3, 4)
    encoder = {
        "fortran": np.asfortranarray(array),
        "view": array.transpose(2, 0, 1),
        "big": array.astype(">f4"),
    }
    back = read_checkpoint(write_checkpoint(tmp_path / "c", make_checkpoint(encoder=encoder))).encoder
    for name, expected in encoder.items():
        np.testing.assert_array_equal(back[name], expected)


def test_encoder_alone_has_no_head(tmp_path):
    written = make_checkpoint(task=None, head=None, head_tensors={})
    folder = write_checkpoint(tmp_path / "encoder", written)
    assert not (folder / HEAD_FILE).exists()
    assert read_checkpoint(folder).head is None
    assert read_checkpoint(folder).head_tensors == {}


def test_undefined_metrics_do_not_cost_the_model(tmp_path):
    training = {
        "auc": float("nan"),
        "loss": np.float32(0.5),
        "epochs": np.int64(3),
        "path": tmp_path,
        "lr": (1e-4, np.inf),
    }
    back = read_checkpoint(write_checkpoint(tmp_path / "c", make_checkpoint(training=training)))
    assert back.training == {"auc": None, "loss": 0.5, "epochs": 3, "path": str(tmp_path), "lr": [1e-4, None]}
    json.loads((tmp_path / "c" / CONFIG_FILE).read_text(), parse_constant=pytest.fail)


def test_replacing_an_older_checkpoint(tmp_path):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    write_checkpoint(folder, make_checkpoint(training={"best_epoch": 9}, head=None))
    assert read_checkpoint(folder).training == {"best_epoch": 9}
    assert not (folder / HEAD_FILE).exists()
    assert os.listdir(tmp_path) == ["c"]


def test_a_write_that_fails_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())

    def full_disk(path, arrays):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_tensors", full_disk)
    with pytest.raises(WriteError, match="No space left"):
        write_checkpoint(folder, make_checkpoint(training={"best_epoch": 9}))
    assert read_checkpoint(folder).training == {"best_epoch": 3}
    with pytest.raises(WriteError, match="No space left"):
        write_checkpoint(tmp_path / "new", make_checkpoint())
    assert os.listdir(tmp_path) == ["c"]


def test_a_move_that_fails_puts_the_older_checkpoint_back(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    rename = checkpoint_module.Path.rename

    def refuse_drafts(path, target):
        if path.name.endswith(".draft"):
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(checkpoint_module.Path, "rename", refuse_drafts)
    with pytest.raises(WriteError, match="Permission denied"):
        write_checkpoint(folder, make_checkpoint(training={"best_epoch": 9}))
    assert read_checkpoint(folder).training == {"best_epoch": 3}
    assert os.listdir(tmp_path) == ["c"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds other files \(thesis.tex\).*folder of its own"):
        write_checkpoint(tmp_path, make_checkpoint())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(CheckpointError, match="is a file"):
        write_checkpoint(tmp_path / "thesis.tex", make_checkpoint())


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "c").mkdir()
    assert read_checkpoint(write_checkpoint(tmp_path / "c", make_checkpoint())).num_features == 8


def test_values_that_json_can_not_hold_are_refused_before_writing(tmp_path):
    for bad in ({"class": object()}, {"prob": float("nan")}):
        with pytest.raises(CheckpointError, match="plain finite JSON values"):
            write_checkpoint(tmp_path / "c", make_checkpoint(head=bad))
    assert os.listdir(tmp_path) == []


def test_missing_folder_and_file_as_folder(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "nowhere")
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file"):
        read_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"no config.json \(it holds model.ckpt\)"):
        read_checkpoint(tmp_path)


def test_a_replacement_killed_between_its_two_renames_is_taken_back(tmp_path, caplog, left_by_the_dead):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint(training={"best_epoch": 3}))
    draft = left_by_the_dead(folder, ".draft")
    shutil.copytree(folder, draft)
    folder.rename(left_by_the_dead(folder, ".older"))
    assert read_checkpoint(folder).training == {"best_epoch": 3}
    assert "the previous one is back" in caplog.text
    assert draft.exists()
    write_checkpoint(folder, make_checkpoint(training={"best_epoch": 9}))
    assert os.listdir(tmp_path) == ["c"]
    assert read_checkpoint(folder).training == {"best_epoch": 9}


def test_where_the_previous_checkpoint_cannot_be_put_back_it_is_pointed_at(
    tmp_path, monkeypatch, left_by_the_dead
):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    folder.rename(left_by_the_dead(folder, ".older"))

    def refuse(path, target):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checkpoint_module.Path, "rename", refuse)
    with pytest.raises(CheckpointError, match=r"previous one in .*\.c\..*\.older: rename it"):
        read_checkpoint(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770)])
def test_files_have_the_modes_that_the_umask_says(tmp_path, umask, file, folder):
    before = os.umask(umask)
    try:
        for _ in range(2):  # anew, and in the place of an older one
            written = write_checkpoint(tmp_path / "c", make_checkpoint())
    finally:
        os.umask(before)
    assert written.stat().st_mode & 0o777 == folder
    assert {path.stat().st_mode & 0o777 for path in written.iterdir()} == {file}


@pytest.mark.parametrize("name", [ENCODER_FILE, HEAD_FILE])
def test_missing_and_truncated_tensors(tmp_path, name):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    whole = (folder / name).read_bytes()
    for size in (0, 4, 40, len(whole) - 1):
        (folder / name).write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=f"{name} is damaged.*again"):
            read_checkpoint(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        read_checkpoint(folder)


def test_a_shape_that_numpy_can_not_have_is_damage(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [0] * 99, "data_offsets": [0, 0]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="is damaged or not a safetensors file"):
        read_tensors(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", [ENCODER_FILE, HEAD_FILE])
def test_a_header_of_a_million_tensors_is_not_read(tmp_path, name):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    size = LARGEST_HEADER + 1
    with (folder / name).open("wb") as file:
        file.write(struct.pack("<Q", size))
        file.truncate(size + 8)  # no such header is parsed, so there need be none
    with pytest.raises(CheckpointError, match=f"{name} lists more tensors than any network has: .*8,388,609"):
        read_checkpoint(folder)
    (folder / name).write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(
        CheckpointError, match=r"should take 4,611,686,018,427,387,904 bytes, of 2 that there are"
    ):
        read_checkpoint(folder)


def test_other_weights_are_named(tmp_path):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    (folder / ENCODER_FILE).rename(folder / "weights.pth")
    for read in (read_checkpoint, source_from_folder):
        with pytest.raises(CheckpointError, match=r"nor pytorch_model.bin; it holds weights.pth"):
            read(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "can't be read as JSON"),
        ("\xff", "can't be read as JSON"),
        ("[]", "key 'architecture'"),
        ('{"architecture": 3}', "key 'architecture'"),
        ('{"architecture": "resnet18", "zoobot": 3}', "'zoobot' must be a JSON object"),
        ('{"architecture": "resnet18", "pretrained_cfg": []}', None),
        (f'{{"architecture": "resnet18", "zoobot": {{"format": {FORMAT + 1}}}}}', "format 2.*pip install"),
        ('{"architecture": "resnet18", "zoobot": {"format": "x"}}', "format 'x'"),
    ],
)
def test_damaged_config(tmp_path, text, words):
    (tmp_path / CONFIG_FILE).write_text(text, encoding="latin-1")
    if words is None:
        assert read_config(tmp_path)["architecture"] == "resnet18"
        return
    with pytest.raises(CheckpointError, match=words):
        read_config(tmp_path)


def test_unknown_keys_are_tolerated(tmp_path):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["license"] = "cc-by-4.0"
    config["zoobot"]["mood"] = "good"
    config["pretrained_cfg"]["tag"] = "gz_evo"
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    assert read_checkpoint(folder).task == make_checkpoint().task


def test_bfloat16_is_read_as_float32_or_refused_in_words(tmp_path):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / ENCODER_FILE
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    if "ml_dtypes" in sys.modules:
        assert read_tensors(path)["w"].dtype == np.float32
        return
    with pytest.raises(CheckpointError, match="type that NumPy does not have"):
        read_tensors(path)


def test_source_of_a_zoobot_folder(tmp_path):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint())
    source = source_from_folder(folder)
    assert source.preprocessing == PREPROCESSING
    assert source.in_channels == 5
    assert_same_arrays(source.read_weights(), make_checkpoint().encoder)


def hub_folder(tmp_path, config):
    from safetensors.numpy import save_file

    save_file(
        {"conv1.weight": np.ones((2, 3, 1, 1), "f4"), "fc.weight": np.ones((9, 2), "f4")},
        tmp_path / ENCODER_FILE,
    )
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    return tmp_path


def test_source_of_a_timm_folder_reads_timms_input(tmp_path):
    timm_config = {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 2], "classifier": "fc"}
    config = {"architecture": "resnet18", "num_classes": 9, "pretrained_cfg": timm_config}
    source = source_from_folder(hub_folder(tmp_path, config))
    assert source.preprocessing == Preprocessing(image_size_pix=96, mean=(0.1, 0.2, 0.3), std=(1, 1, 2))
    assert list(source.read_weights()) == ["conv1.weight"]
    assert source.model_args == {}


def test_source_of_timms_older_flat_layout(tmp_path):
    config = {"architecture": "resnet18", "input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3}
    source = source_from_folder(hub_folder(tmp_path, config))
    assert (source.preprocessing.image_size_pix, source.preprocessing.mean) == (64, (0.5, 0.5, 0.5))


def test_model_args_overrule_the_input_size(tmp_path):
    config = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": {"in_chans": 1, "img_size": [64, 64], "num_classes": 0, "global_pool": "", "depth": 2},
        "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.2, 0.3, 0.4], "std": [1, 1, 1]},
    }
    source = source_from_folder(hub_folder(tmp_path, config))
    assert source.in_channels == source.preprocessing.channels == 1
    assert source.preprocessing.image_size_pix == 64
    assert source.preprocessing.colour == "to-grey"
    assert source.preprocessing.mean == pytest.approx((0.3,))
    assert source.model_args == {"depth": 2}


@pytest.mark.parametrize(
    "pretrained_cfg",
    [
        {"input_size": [3, 224]},
        {"input_size": "big"},
        {"std": [0, 1, 1]},
        {"mean": 0.5},
        {"mean": [0.1, 0.2]},
    ],
)
def test_unusable_timm_input_is_a_checkpoint_error(tmp_path, pretrained_cfg):
    config = {"architecture": "resnet18", "pretrained_cfg": pretrained_cfg}
    with pytest.raises(CheckpointError, match=CONFIG_FILE):
        source_from_folder(hub_folder(tmp_path, config))


def test_a_module_in_memory_has_no_name_to_rebuild_it(tmp_path):
    folder = write_checkpoint(tmp_path / "c", make_checkpoint(architecture="module:mine.Net"))
    with pytest.raises(EncoderError, match=r"module mine.Net.*pass it as `encoder`"):
        source_from_folder(folder)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("task",), {"kind": ["classification"]}, "task kind must be one of"),
        (("task",), {"kind": "regression", "num_targets": 10**12}, "1 to 1,000,000 label columns"),
        (("task",), {"kind": "classification", "label_cols": []}, "missing \\['class_names'\\]"),
        (("task",), {"kind": "regression", "spin": 1}, "unknown \\['spin'\\]"),
        (("task",), "regression", "'task' must be a JSON object"),
        (("preprocessing", "image_size_pix"), "64", "image_size_pix must be a whole number"),
        (("preprocessing", "image_size_pix"), 2**63, "at most 268,435,456 values"),
        (("preprocessing", "mean"), [None] * 5, "mean must be a list, each item a finite number"),
        (("preprocessing", "std"), [float("nan")] * 5, "std must be a list, each item a finite number"),
        (("head", "dropout_prob"), None, "dropout_prob must be in"),
    ],
)
def test_a_damaged_config_of_a_whole_model_is_refused_with_its_name(tmp_path, place, value, words):
    task = {"kind": "classification", "label_cols": ["ring"], "class_names": ["no", "yes"]}
    folder = write_checkpoint(tmp_path / "rings", make_checkpoint(task=task))
    config = json.loads((folder / CONFIG_FILE).read_text())
    owner = config["zoobot"]
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = value
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words) as caught:
        read_whole_model(folder)
    assert str(folder / CONFIG_FILE) in str(caught.value)


def test_a_config_without_bottom_is_refused(tmp_path):
    (tmp_path / CONFIG_FILE).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="can't be read as JSON"):
        read_config(tmp_path)


def test_a_strangers_config_can_not_say_where_timm_loads_from(tmp_path):
    evil = {"in_chans": 5, "checkpoint_path": "evil.pth", "pretrained_cfg": {"file": "evil.pth"}, "depth": 3}
    folder = write_checkpoint(tmp_path / "rings", make_checkpoint(model_args=evil))
    assert source_from_folder(folder).model_args == {"depth": 3}


def test_a_config_that_asks_for_endless_channels_is_refused(tmp_path):
    endless = {"input_size": [10**9, 64, 64]}
    folder = write_checkpoint(tmp_path / "rings", make_checkpoint(pretrained_cfg=endless, model_args={}))
    with pytest.raises(CheckpointError, match="at most 268,435,456 values"):
        source_from_folder(folder)
