"""Encoders as they were published, through the Hub's cache, in every engine: the right weights and pixels."""

import numpy as np
import pytest

from zoobot.shared.checkpoint import read_config
from zoobot.shared.errors import EncoderError
from zoobot.shared.files.tensors import write_tensors
from zoobot.shared.preprocessing import describe_pixels

FIRST_LAYERS = {"test_resnet": "conv1", "test_convnext": "stem.0"}
SIZE = 64


def disturbed(name, channels):
    """timm's own network with norms and biases of some size, so that none can be lost unseen."""
    timm = pytest.importorskip("timm")
    import torch

    network = timm.create_model(name, num_classes=0, in_chans=channels).eval()
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if tensor.ndim == 1:
                noise = torch.rand(tensor.shape, generator=random)
                tensor.copy_(0.5 + noise if "var" in key or "weight" in key else 0.2 * (noise - 0.5))
    return network


@pytest.fixture
def published(cached, publish):
    """A tiny encoder in the layout of the Hub, and timm's own network with its weights."""

    def published(repository, name, *, channels=3, refs=("main",)):
        network = disturbed(name, channels)
        arrays = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
        place = publish(cached(repository, refs=refs), name, arrays, size=SIZE, first_conv=FIRST_LAYERS[name])
        return place, network

    return published


@pytest.fixture
def compare(engine_name, apply):
    """Holds the features of an encoder against those of timm's network."""

    def compare(encoder, network, channels):
        import torch

        images = np.random.default_rng(1).random((4, SIZE, SIZE, channels), dtype=np.float32)
        planes = images.transpose(0, 3, 1, 2).copy()
        with torch.no_grad():
            expected = network(torch.from_numpy(planes)).numpy()
        found = apply(encoder, planes if engine_name == "pytorch" else images)
        assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()

    return compare


@pytest.mark.parametrize("name", sorted(FIRST_LAYERS))
@pytest.mark.parametrize("revision", ["", "@refs/pr/1"])
def test_a_pickle_alone_gives_timms_features(engine, published, compare, name, revision):
    repository = f"mwalmsley/zoobot-encoder-{name}"
    place, network = published(repository, name, refs=("main", "refs/pr/1"))
    encoder = engine.encoders.load_encoder(f"hf_hub:{repository}{revision}")
    compare(encoder, network, 3)
    pixels = encoder.preprocessing
    assert (set(pixels.mean), set(pixels.std), pixels.crop_fraction) == ({0}, {1}, 1 / 1.2)
    assert encoder.origin.encoder == f"hf_hub:{repository}{revision}"
    folder = engine.encoders.load_encoder(place)
    compare(folder, network, 3)
    assert folder.origin.sha256 == encoder.origin.sha256
    assert folder.preprocessing == pixels


@pytest.mark.parametrize("name", sorted(FIRST_LAYERS))
@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_a_grey_encoder_under_a_config_of_colour(engine, published, compare, name, kind):
    repository = f"mwalmsley/zoobot-encoder-greyscale-{name}"
    place, network = published(repository, name, channels=1)
    if kind == "safetensors":
        write_tensors(place / "model.safetensors", {k: t.numpy() for k, t in network.state_dict().items()})
    encoder = engine.encoders.load_encoder(f"hf_hub:{repository}")
    assert (encoder.preprocessing.channels, encoder.preprocessing.colour) == (1, "to-grey")
    assert (encoder.preprocessing.mean, encoder.preprocessing.std) == ((0,), (1,))
    compare(encoder, network, 1)
    colour = engine.encoders.load_encoder(f"hf_hub:{repository}", in_channels=3)
    assert colour.preprocessing.channels == 3


def test_a_checkpoint_names_the_encoder_it_started_from(engine, published, tmp_path):
    repository = "mwalmsley/zoobot-encoder-test_resnet"
    published(repository, "test_resnet")
    model = engine.finetune.FinetuneableZoobotClassifier(
        name=f"hf_hub:{repository}",
        class_names=["no", "yes"],
        label_cols=["ring"],
        preprocessing={"image_size_pix": 32},
    )
    folder = engine.checkpoint.save(model, tmp_path / "one")
    origin = read_config(folder)["zoobot"]["origin"]
    assert origin["encoder"] == f"hf_hub:{repository}"
    assert len(origin["sha256"]) == 64
    assert "[0, 1]" in origin["pixels"]
    assert "image_size_pix as you asked" in origin["pixels"]
    again = engine.checkpoint.load(folder)
    assert again.encoder.origin.to_config() == origin
    told = describe_pixels(again.preprocessing, again.encoder.origin.pixels)
    for words in ("central 83 %", "32 x 32 px", "none: pixels in [0, 1]", "zoobot-encoder-test_resnet"):
        assert words in told
    saved = engine.checkpoint.save(again, tmp_path / "two")
    assert read_config(saved)["zoobot"]["origin"] == origin
    child = engine.finetune.FinetuneableZoobotClassifier(
        name=str(folder), class_names=["a", "b"], label_cols=["bar"]
    )
    assert child.encoder.origin.encoder == str(folder)
    assert child.preprocessing == model.preprocessing


def test_an_architecture_that_only_pytorch_has(tmp_path, publish):
    pytest.importorskip("tensorflow")
    from zoobot.tensorflow.encoders import load_encoder

    arrays = {"stem.conv1.weight": np.zeros((2, 3, 3, 3), "f4")}
    folder = publish(tmp_path / "maxvit", "maxvit_tiny_rw_224", arrays)
    for name in ("maxvit_tiny_rw_224", folder):
        with pytest.raises(EncoderError, match="--backend pytorch") as caught:
            load_encoder(name)
        assert "near names" not in str(caught.value)
        assert "maxvit_tiny_rw_224" in str(caught.value)


def test_an_encoder_in_memory_from_the_hub_gets_its_pixels():
    timm = pytest.importorskip("timm")
    from zoobot.pytorch.encoders import encoder_from_module

    network = timm.create_model("test_resnet", num_classes=0)
    for name, crop in (("mwalmsley/baseline-encoder-regression-convnext_base@main", 1 / 1.2), ("timm/x", 1)):
        network.pretrained_cfg["hf_hub_id"] = name
        pixels = encoder_from_module(network).preprocessing
        assert pixels.crop_fraction == crop
        assert (set(pixels.mean) == {0}) == (crop < 1)
