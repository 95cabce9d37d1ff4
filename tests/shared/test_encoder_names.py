import json
import logging

import numpy as np
import pytest

from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, EncoderError
from zoobot.shared.files.tensors import write_tensors
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.models.model_places import resolve_encoder
from zoobot.shared.models.neutral import read_whole_model
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
        ("vitmax_tiny_224", "no name is near"),
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


PUBLISHED = ["zoobot-encoder-convnext_nano", "baseline-encoder-regression-convnext_base"]
ARRAYS = {"conv1.weight": np.ones((2, 3, 7, 7), "f4"), "bn1.num_batches_tracked": np.array(3)}


def is_plain(source):
    pixels = source.preprocessing
    return (set(pixels.mean), set(pixels.std), round(pixels.crop_fraction, 4)) == ({0.0}, {1.0}, 0.8333)


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_encoders_get_the_pixels_they_learned_from(cached, publish, published):
    name = f"mwalmsley/{published}"
    revision = "c" * 40
    folder = publish(cached(name, revision=revision, refs=("main", "refs/pr/1")), "resnet18", ARRAYS)
    for revision_named in ("", "@main", "@refs/pr/1", f"@{revision}"):
        for prefix in ("hf_hub:", "hf-hub:"):
            source = resolve_encoder(f"{prefix}{name}{revision_named}", ARCHITECTURES)
            assert is_plain(source), source
            assert "known by its name" in source.why_pixels
    in_cache = resolve_encoder(folder, ARCHITECTURES)
    assert is_plain(in_cache)
    assert "(known by its place in the Hub's cache) learned" in in_cache.why_pixels
    assert (source.preprocessing.image_size_pix, source.in_channels) == (224, 3)
    assert source.read_weights()["conv1.weight"].shape == (2, 3, 7, 7)


@pytest.mark.parametrize("published", PUBLISHED)
def test_copies_of_published_encoders_are_known_by_what_lies_in_them(
    tmp_path, monkeypatch, publish, published
):
    named = publish(tmp_path / published, "resnet18", ARRAYS)
    assert "README.md" not in resolve_encoder(named, ARCHITECTURES).why_pixels
    monkeypatch.chdir(named)
    assert is_plain(resolve_encoder(".", ARCHITECTURES))
    carded = named.rename(tmp_path / "my_encoder")
    source = resolve_encoder(carded, ARCHITECTURES)
    assert is_plain(source)
    assert "README.md" in source.why_pixels
    (carded / "README.md").unlink()
    (carded / ".git").mkdir()
    remote = f"https://huggingface.co/mwalmsley/{published}"
    (carded / ".git" / "config").write_text(f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {remote}\n')
    assert is_plain(resolve_encoder(carded, ARCHITECTURES))
    (tmp_path / "link").symlink_to(carded)
    assert is_plain(resolve_encoder(tmp_path / "link", ARCHITECTURES))


def test_a_copy_of_unknown_origin_gets_what_its_file_says_and_that_is_said(tmp_path, publish, caplog):
    folder = publish(tmp_path / "my_encoder", "resnet18", ARRAYS)
    with caplog.at_level(logging.WARNING, logger="zoobot"):
        source = resolve_encoder(folder, ARCHITECTURES)
    assert source.preprocessing.mean == (0.485, 0.456, 0.406)
    assert source.preprocessing.crop_fraction == 1
    for words in ("nothing tells where", "--normalisation plain --crop-fraction 0.8333", "config.json says"):
        assert words in caplog.text


def test_an_encoder_that_is_asked_to_predict_names_the_command_that_teaches_it(tmp_path, publish):
    folder = publish(tmp_path / "my encoder", "resnet18", ARRAYS)
    with pytest.raises(CheckpointError, match=rf"without a head.*finetune --encoder '{folder}'; `name=`"):
        read_whole_model(folder)


def test_other_models_of_the_hub_get_what_their_files_say_without_a_warning(cached, publish, caplog):
    publish(cached("timm/resnet18.a1_in1k"), "resnet18", ARRAYS)
    with caplog.at_level(logging.WARNING, logger="zoobot"):
        source = resolve_encoder("hf_hub:timm/resnet18.a1_in1k", ARCHITECTURES)
    assert source.preprocessing.mean == (0.485, 0.456, 0.406)
    assert not caplog.text


def test_other_encoders_get_what_their_files_say(tmp_path):
    for folder in (tmp_path / "zoobot-encoder-x" / "other", tmp_path / "my-zoobot-encoder-x"):
        forget_zoobot(write_encoder(folder))
        assert resolve_encoder(folder, ARCHITECTURES).preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_folder_of_ours_keeps_its_pixels_whatever_it_is_called(tmp_path):
    ours = Preprocessing(image_size_pix=96, mean=(0.1,), std=(0.2,), crop_fraction=0.5)
    encoder = NeutralCheckpoint(
        architecture="resnet18",
        encoder={"conv1.weight": np.ones((2, 3, 7, 7), "f4")},
        num_features=2,
        pretrained_cfg={"input_size": [3, 96, 96]},
        preprocessing=ours.to_config(),
        origin=Origin("hf_hub:a/b", "00", "as a/b learned").to_config(),
    )
    source = resolve_encoder(write_checkpoint(tmp_path / "zoobot-encoder-x", encoder), ARCHITECTURES)
    assert source.preprocessing == ours
    assert "as a/b learned" in source.why_pixels


def test_safetensors_go_before_pickles(tmp_path, publish):
    folder = publish(tmp_path / "e", "resnet18", ARRAYS)
    pickled = resolve_encoder(folder, ARCHITECTURES)
    assert pickled.weights.name == "pytorch_model.bin"
    write_tensors(folder / "model.safetensors", ARRAYS)
    tensors = resolve_encoder(folder, ARCHITECTURES)
    assert tensors.weights.name == "model.safetensors"
    for name, array in tensors.read_weights().items():
        found = pickled.read_weights()[name]
        assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())
    assert len(tensors.origin().sha256) == 64
    assert tensors.origin().sha256 != pickled.origin().sha256


def test_a_damaged_pickle_is_named(tmp_path, publish):
    folder = publish(tmp_path / "e", "resnet18", ARRAYS)
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is damaged"):
        resolve_encoder(folder, ARCHITECTURES).read_weights()
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no model.safetensors, nor pytorch_model.bin"):
        resolve_encoder(folder, ARCHITECTURES)


def test_a_model_whose_pickle_is_all_it_has_is_downloaded(hub, monkeypatch, tmp_path, publish):
    import huggingface_hub

    there = publish(tmp_path / "there", "resnet18", ARRAYS)
    asked = []

    def answer(_repository, file, *, local_files_only=False, **_options):
        if local_files_only:
            raise FileNotFoundError
        asked.append(file)
        if not (there / file).exists():
            raise type("RemoteEntryNotFoundError", (Exception,), {})(file)
        return str(there / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    assert resolve_encoder("hf_hub:a/b", ARCHITECTURES).weights == there / "pytorch_model.bin"
    assert asked == ["config.json", "model.safetensors", "pytorch_model.bin"]
    (there / "pytorch_model.bin").unlink()
    with pytest.raises(EncoderError, match=r"has no model.safetensors, nor pytorch_model.bin"):
        resolve_encoder("hf_hub:a/b", ARCHITECTURES)


def test_without_network_the_error_says_what_to_do(hub):
    with pytest.raises(EncoderError) as caught:
        resolve_encoder("hf_hub:mwalmsley/zoobot-encoder-convnext_nano", ARCHITECTURES)
    text = str(caught.value)
    for words in (
        "`hf download mwalmsley/zoobot-encoder-convnext_nano --local-dir zoobot-encoder-convnext_nano`",
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
    with pytest.raises(
        EncoderError, match=r"could not download model.safetensors \(or pytorch_model.bin\) of 'a/b'"
    ):
        resolve_encoder("hf_hub:a/b", ARCHITECTURES)


@pytest.mark.parametrize("name", ["a/b/c", "", "spaces in it", "@main"])
def test_malformed_hub_names(hub, name):
    with pytest.raises(EncoderError, match="expected 'hf_hub:owner/name'"):
        resolve_encoder(f"hf_hub:{name}", ARCHITECTURES)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("RepositoryNotFoundError", "no public model 'a/b'.*hf auth login"),
        ("RemoteEntryNotFoundError", r"has no config.json: an encoder is .*nothing is run"),
        ("HfHubHTTPError", "could not download config.json"),
        ("RevisionNotFoundError", "has no revision"),
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
