import json
import logging

import numpy as np
import pytest

from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.errors import EncoderError, MissingPackageError
from zoobot.shared.models.encoder_names import resolve_encoder
from zoobot.shared.preprocessing import Preprocessing

ARCHITECTURES = ["convnext_atto", "convnext_nano", "resnet18"]


def write_encoder(folder, architecture="resnet18"):
    encoder = NeutralCheckpoint(
        architecture=architecture,
        encoder={"conv1.weight": np.ones((2, 3, 7, 7), "f4")},
        num_features=2,
        pretrained_cfg={"input_size": [3, 96, 96], "mean": [0.5] * 3, "std": [0.5] * 3},
    )
    return write_checkpoint(folder, encoder)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hugging Face client with an empty cache of its own and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_an_architecture_has_random_weights_and_says_so(caplog):
    with caplog.at_level(logging.WARNING, logger="zoobot"):
        source = resolve_encoder("convnext_nano", ARCHITECTURES)
    assert source.read_weights() is None
    assert source.preprocessing == Preprocessing()
    assert "convnext_nano" in caplog.text
    assert "random" in caplog.text


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_folder_is_read(tmp_path, kind):
    source = resolve_encoder(kind(write_encoder(tmp_path / "encoder")), ARCHITECTURES)
    assert source.architecture == "resnet18"
    assert source.read_weights()["conv1.weight"].shape == (2, 3, 7, 7)
    assert source.preprocessing.image_size_pix == 96


def test_a_folder_goes_before_an_architecture_of_its_name(tmp_path, monkeypatch):
    write_encoder(tmp_path / "convnext_nano")
    monkeypatch.chdir(tmp_path)
    assert resolve_encoder("convnext_nano", ARCHITECTURES).architecture == "resnet18"


def test_a_folder_without_config_does_not_hide_an_architecture(tmp_path, monkeypatch):
    (tmp_path / "convnext_nano").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_encoder("convnext_nano", ARCHITECTURES).weights is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("convnext_nan", r"near names: \['convnext_nano'"),
        ("imagenet_lite0", "imagenet-lite0"),
        ("resnet18.a1_in1k", "'hf_hub:timm/resnet18.a1_in1k'.*'resnet18'"),
        ("mwalmsley/zoobot-encoder", "'hf_hub:mwalmsley/zoobot-encoder'"),
        ("qqqq", "no name is near"),
        ("", "holds no encoder"),
    ],
)
def test_unknown_names_get_a_hint(name, words):
    with pytest.raises(EncoderError, match=words):
        resolve_encoder(name, ARCHITECTURES)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(EncoderError, match=r"holds no encoder: it has no config.json"):
        resolve_encoder(tmp_path, ARCHITECTURES)


@pytest.mark.parametrize("prefix", ["hf_hub:", "hf-hub:"])
def test_a_cached_model_needs_no_network(hub, prefix):
    revision = "a" * 40
    repository = hub / "models--mwalmsley--encoder"
    write_encoder(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    for name in ("mwalmsley/encoder", f"mwalmsley/encoder@{revision}"):
        source = resolve_encoder(prefix + name, ARCHITECTURES)
        assert source.architecture == "resnet18"
        assert source.description == f"hf_hub:{name}"


def forget_zoobot(folder):
    """Leave what timm writes when a model is published."""
    config = json.loads((folder / "config.json").read_text())
    del config["zoobot"]
    (folder / "config.json").write_text(json.dumps(config))


def test_encoders_of_zoobot_2_get_the_pixels_they_learned_from(hub, tmp_path):
    revision = "c" * 40
    repository = hub / "models--mwalmsley--zoobot-encoder-resnet18"
    cached = repository / "snapshots" / revision
    forget_zoobot(write_encoder(cached))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    copied = tmp_path / "zoobot-encoder-resnet18"
    forget_zoobot(write_encoder(copied))
    name = "hf_hub:mwalmsley/zoobot-encoder-resnet18"
    for source in (name, f"{name}@{revision}", copied, cached):
        preprocessing = resolve_encoder(source, ARCHITECTURES).preprocessing
        assert (preprocessing.mean, preprocessing.std) == ((0, 0, 0), (1, 1, 1)), source
        assert (preprocessing.image_size_pix, preprocessing.channels) == (96, 3)


def test_other_encoders_get_what_their_files_say(tmp_path):
    for folder in (tmp_path / "zoobot-encoder-x" / "other", tmp_path / "my-zoobot-encoder-x"):
        forget_zoobot(write_encoder(folder))
        assert resolve_encoder(folder, ARCHITECTURES).preprocessing.mean == (0.5, 0.5, 0.5)


def test_without_network_the_error_says_what_to_do(hub):
    with pytest.raises(EncoderError) as caught:
        resolve_encoder("hf_hub:mwalmsley/zoobot-encoder-convnext_nano", ARCHITECTURES)
    text = str(caught.value)
    for words in (
        "hf download mwalmsley/zoobot-encoder-convnext_nano",
        "HF_HOME",
        "imagenet-lite0",
        "not in the cache",
    ):
        assert words in text


def test_a_half_cached_model_is_no_model(hub):
    revision = "b" * 40
    repository = hub / "models--a--b"
    (write_encoder(repository / "snapshots" / revision) / "model.safetensors").unlink()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    with pytest.raises(EncoderError, match=r"could not download model.safetensors of 'a/b'"):
        resolve_encoder("hf_hub:a/b", ARCHITECTURES)


@pytest.mark.parametrize("name", ["a/b/c", "", "spaces in it", "@main"])
def test_malformed_hub_names(hub, name):
    with pytest.raises(EncoderError, match="expected 'hf_hub:owner/name'"):
        resolve_encoder(f"hf_hub:{name}", ARCHITECTURES)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("RepositoryNotFoundError", "no public model 'a/b'.*hf auth login"),
        ("RemoteEntryNotFoundError", "has no config.json.*never pickles"),
        ("HfHubHTTPError", "could not download config.json"),
        ("ReadTimeout", "could not download config.json.*HF_HOME"),
    ],
)
def test_what_the_hub_answers_is_told_in_words(hub, monkeypatch, kind, words):
    import huggingface_hub

    reason = "the server said no."

    def answer(*_args, local_files_only=False, **_options):
        if local_files_only:
            raise FileNotFoundError
        raise type(kind, (Exception,), {})(reason)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    with pytest.raises(EncoderError, match=words):
        resolve_encoder("hf_hub:a/b", ARCHITECTURES)


def test_without_the_hubs_client(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match="pip install huggingface_hub"):
        resolve_encoder("hf_hub:a/b", ARCHITECTURES)
