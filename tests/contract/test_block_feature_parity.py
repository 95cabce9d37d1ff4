"""The features of every block of every family are the same in both engines, by the same names."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from zoobot.pytorch.blocks import BlockFeatures as TorchFeatures  # noqa: E402
from zoobot.pytorch.encoders import load_encoder as load_torch  # noqa: E402
from zoobot.pytorch.weights import encoder_fields  # noqa: E402
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint  # noqa: E402
from zoobot.tensorflow.blocks import BlockFeatures as KerasFeatures  # noqa: E402
from zoobot.tensorflow.encoders import load_encoder as load_keras  # noqa: E402

FAMILIES = {
    "convnext": "test_convnext",
    "resnet": "resnet10t",
    "efficientnet": "test_efficientnet",
    "lite": "tf_efficientnet_lite0",
    "vit": "test_vit",
}


@pytest.fixture(params=list(FAMILIES))
def twins(request, tmp_path):
    """An encoder of a family in both engines, with the same random weights."""
    torch.manual_seed(0)
    encoder = load_torch(FAMILIES[request.param], image_size_pix=64).eval()
    with torch.no_grad():
        for module in encoder.modules():  # statistics of a trained network, so that norms do something
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    write_checkpoint(tmp_path / "encoder", NeutralCheckpoint(**encoder_fields(encoder)))
    return encoder, load_keras(tmp_path / "encoder")


def test_every_block_gives_the_same_features(twins):
    ours, theirs = twins
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    names = [block.name for block in ours.blocks]
    assert names == [block.name for block in theirs.blocks]
    for number, name in enumerate(names):
        torch_features, keras_features = TorchFeatures(ours, number), KerasFeatures(theirs, name)
        first, second = torch_features(torch.from_numpy(images)).numpy(), keras_features(images).numpy()
        assert (torch_features.block, keras_features.block) == (name, name)
        assert first.shape == second.shape == (3, torch_features.width) == (3, keras_features.width)
        assert np.ptp(first, axis=0).max() > 1e-3, name
        scale = max(1.0, float(np.abs(first).max()))
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-4 * scale, err_msg=name)


def test_blocks_are_what_timm_calls_intermediate_features(twins):
    """timm lists the last block of each resolution, without the one below a final norm."""
    ours, _ = twins
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    record = ours.preprocessing
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (record.mean, record.std))
    with torch.inference_mode():
        listed = ours.model.forward_intermediates((pixels - mean) / std, intermediates_only=True)
    pooled = [one.mean(dim=(2, 3)).numpy() for one in listed]
    found = [
        TorchFeatures(ours, number)(torch.from_numpy(images)).numpy() for number in range(len(ours.blocks))
    ]
    same = sum(any(p.shape == f.shape and np.allclose(p, f, atol=1e-5) for p in pooled) for f in found)
    assert same >= len(pooled) - 2
