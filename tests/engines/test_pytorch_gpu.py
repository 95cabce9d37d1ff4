"""What the PyTorch engine does for a GPU, as far as a CPU can tell."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from zoobot.pytorch import data, devices, predict  # noqa: E402
from zoobot.pytorch.devices import true_float32  # noqa: E402
from zoobot.shared import defaults  # noqa: E402
from zoobot.shared.models.model_places import bundled_checkpoint  # noqa: E402
from zoobot.shared.models.weights import largest_difference  # noqa: E402
from zoobot.simulate.survey import simulate_survey  # noqa: E402

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def pinned(monkeypatch):
    """Lists the shapes of the tensors that were to be pinned, which takes a GPU."""
    shapes = []

    def pin_memory(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    return shapes


def test_only_what_a_gpu_takes_is_pinned(pinned):
    tensor = torch.zeros(3)
    assert devices.pinned_for(CPU, tensor) is tensor
    assert not pinned
    devices.pinned_for(GPU, tensor)
    assert pinned == [(3,)]


@pytest.mark.parametrize(("device", "expected"), [(CPU, []), (GPU, [(2, 4, 4, 3), (2, 1)])])
def test_training_batches_are_pinned_for_the_device_that_trains(pinned, device, expected):
    batch = (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 1), np.float32), ["a", "b"])

    class Loader(list):
        def set_epoch(self, *_):
            pass

    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=device), current_epoch=0, training=True)
    (served,) = data.TensorBatches(Loader([batch]), trainer)
    assert pinned == expected
    assert served.images.dtype == torch.uint8  # a quarter of the bytes that floats would be


def test_float32_is_float32_for_a_while(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    inside = []

    def fail():
        with true_float32():
            inside.append(torch.backends.cudnn.allow_tf32)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [False]
    assert torch.backends.cudnn.allow_tf32


class Recorder(torch.nn.Module):
    """An encoder that remembers whether float32 was float32."""

    def __init__(self):
        super().__init__()
        self.conv, self.seen = torch.nn.Conv2d(3, 4, 3), []

    def forward(self, images):
        self.seen.append(torch.backends.cudnn.allow_tf32)
        return self.conv(images).mean((2, 3))


@pytest.mark.parametrize("engine_name", ["pytorch"])
def test_predictions_of_float32_are_of_float32(make_model, catalog_path, engine_name):
    assert torch.backends.cudnn.allow_tf32
    encoder = Recorder()
    model = make_model("classification", encoder=encoder)
    encoder.seen.clear()
    predict.predict(catalog_path, model, progress=False)
    assert encoder.seen
    assert not any(encoder.seen)
    assert torch.backends.cudnn.allow_tf32


def test_a_gpu_predicts_in_float16():
    assert predict._half_precision("auto", GPU) == torch.float16
    assert predict._half_precision("auto", CPU) is None
    assert predict._half_precision("bf16-mixed", GPU) == torch.bfloat16


def test_float16_is_the_nearer_half(bundled):
    found = {
        precision: predict.predict(*bundled, precision=precision, progress=False).table.iloc[:, 1:].to_numpy()
        for precision in ("32-true", "16-mixed", "bf16-mixed")
    }
    far = {name: largest_difference(found[name], found["32-true"]) for name in ("16-mixed", "bf16-mixed")}
    assert 0 < 3 * far["16-mixed"] < far["bf16-mixed"]
    assert far["16-mixed"] < defaults.AGREEMENT_FLOAT16
    assert far["bf16-mixed"] < defaults.AGREEMENT_BFLOAT16


@pytest.fixture
def bundled(tmp_path):
    """Four galaxies, and the bundled model."""
    if bundled_checkpoint("zoobot-mini") is None:
        pytest.skip("zoobot-mini is not here")
    return simulate_survey(tmp_path / "survey", n_galaxies=4, seed=0), "zoobot-mini"
