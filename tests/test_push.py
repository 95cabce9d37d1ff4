"""A model sent to a Hub on the loopback: what is sent, what never is, and what refusals say."""

import json
import socket
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from zoobot import workflow
from zoobot.options import PushOptions
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, ConfigError, HubError
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import ClassificationTask
from zoobot.shared.training.taught import TaughtBy
from zoobot.workflow.account import facts_of_models

PRIVATE = "/home/jane/secret_survey"
PIXELS = Preprocessing(image_size_pix=32)
TASK = ClassificationTask(label_cols=("kind",), class_names=("disk", "ring"))
TRAINING = {
    "settings": {"n_blocks": 1, "learning_rate": 1e-4, "weight_decay": 0.05, "schedule": "cosine"},
    "galaxies": {"train": 560, "val": 140},
    "epoch": 7,
    "val_loss": 0.434,
    "calibration": {
        "objective": "likelihood",
        "factors": {"most likely class": 1.6},
        "galaxies": {"most likely class": 140},
        "catalog": "secret.csv",
        "fingerprint": "ea9dbb",
        "command": f"zoobot calibrate --catalog {PRIVATE}/secret.csv",
    },
}
SCORES = {
    "accuracy": 0.95,
    "f1_macro": 0.91,
    "n_disk": 130.0,
    "n_ring": 10.0,
    "recall_ring": 0.8,
    "log_loss": None,
}


def write_model(folder, **changes):
    random = np.random.default_rng(0)
    facts = {
        "architecture": "test_resnet",
        "encoder": {"conv1.weight": random.random((2, 3, 3, 3), np.float32)},
        "num_features": 2,
        "pretrained_cfg": {"input_size": [3, 32, 32], "first_conv": "conv1", "classifier": "fc"},
        "preprocessing": PIXELS.to_config(),
        "task": TASK.to_config(),
        "head": {"dropout_prob": 0.5},
        "head_tensors": {"linear.weight": np.zeros((2, 2), "f4"), "linear.bias": np.zeros(2, "f4")},
        "training": TRAINING,
        "taught_by": TaughtBy.of(["J1", "J2"], ["J3"]),
        "origin": {
            "encoder": f"{PRIVATE}/run",
            "sha256": "ab" * 32,
            "pixels": f"as {PRIVATE}/run was trained",
        },
    }
    return write_checkpoint(folder, NeutralCheckpoint(**{**facts, **changes}))


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "secret_run"
    write_model(folder / "checkpoint")
    part = {"source": "secret.csv", "fingerprint": "f", "contents": "c", "split": "random"}
    record = {
        "work": "finetune",
        "status": "finished",
        "command": f"zoobot finetune --catalog {PRIVATE}/secret.csv",
        "options": {"catalog": f"{PRIVATE}/secret.csv", "seed": 5, "backend": "pytorch", "max_epochs": 20},
        "paths": {"catalog": f"{PRIVATE}/secret.csv"},
        "versions": {"python": "3.11.7", "platform": "Linux-host", "torch": "2.9", "zoobot": "3.0"},
        "data": {"train": {**part, "galaxies": 560}, "val": {**part, "galaxies": 140}},
        "told": [
            "What will happen",
            "  learns         the head and 1 of the encoder's 4 blocks: 9 of 99 weights",
        ],
        "epochs": 9,
        "calibration": {"objective": "likelihood"},
    }
    (folder / "run.json").write_text(json.dumps(record))
    evaluation = {"task": "classification", "part": "val", "galaxies": 140, "failures": 0, "scores": SCORES}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    split = pd.DataFrame({"id_str": ["J_SECRET"] * 3, "split": ["train", "val", "failed"]})
    split.to_parquet(folder / "split.parquet")
    return folder


def push(folder, to="me/rings", **options):
    return workflow.push(PushOptions(checkpoint=str(folder), to=to, **options))


def test_what_is_sent_and_what_is_not(run_folder, loopback_hub):
    result = push(run_folder, license="mit", message="A first model")
    assert set(loopback_hub.files("me/rings")) == set(result.files)
    assert set(result.files) == {"config.json", "README.md", "model.safetensors", "head.safetensors"}
    assert loopback_hub.commits == ["A first model"]
    assert not loopback_hub.repositories["me/rings"]["private"]
    files = loopback_hub.files("me/rings")
    for name in ("model.safetensors", "head.safetensors"):
        assert files[name] == (run_folder / "checkpoint" / name).read_bytes()
    everything = b"\n".join(files.values()).decode("utf-8", "replace")
    for private in ("jane", "secret", "J_SECRET", "ea9dbb", "Linux-host", str(run_folder.parent)):
        assert private not in everything
    config = json.loads(files["config.json"])
    ours = json.loads((run_folder / "checkpoint" / "config.json").read_text())
    assert config["zoobot"]["training"]["settings"] == TRAINING["settings"]
    assert config["zoobot"]["training"]["calibration"]["factors"] == {"most likely class": 1.6}
    assert config["zoobot"]["origin"]["sha256"] == "ab" * 32
    for part in ("architecture", "pretrained_cfg", "num_features"):
        assert config[part] == ours[part]
    for part in ("task", "head", "preprocessing"):
        assert config["zoobot"][part] == ours["zoobot"][part]
    assert "zoobot predict hf_hub:me/rings" in result.report()


def test_what_is_used_from_the_hub_is_cited_by_its_commit(run_folder, loopback_hub):
    push(run_folder)
    sha = loopback_hub.repositories["me/rings"]["shas"]["main"]
    (facts,) = facts_of_models([find_checkpoint("hf_hub:me/rings")], [SimpleNamespace(preprocessing=PIXELS)])
    assert facts["name"] == f"hf_hub:me/rings@{sha}"
    assert facts["zoobot"]["task"] == TASK.to_config()


def front_matter(card):
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_says_what_the_record_says(run_folder):
    metadata, body = front_matter(push(run_folder, dry_run=True).card)
    assert metadata["library_name"] == "zoobot"
    assert metadata["pipeline_tag"] == "image-classification"
    assert metadata["metrics"] == ["accuracy", "f1"]
    assert {"license", "base_model"}.isdisjoint(metadata)
    for words in (
        "# rings",
        "2 classes of the column `kind`: `disk`, `ring`",
        "560 to train on and 140 to validate on",
        "at random with seed 5",
        "1 image could not be read",
        "32 x 32 px",
        "for 9 epochs by AdamW",
        "epoch 7",
        "temperature 0.625",
        "| accuracy | 0.950 |",
        "| `ring` | 10 | – | 0.800 | – |",
        "Fewer than 30 galaxies tell of: `ring` (10)",
        "also chose the model",
        "calibrated anew after it was scored",
        "a checkpoint without a public name",
        'timm.create_model("hf_hub:me/rings"',
        "@article{walmsley2023zoobot,",
        "PyTorch 2.9",
    ):
        assert words in body, words
    assert "log loss" not in body
    metadata, _ = front_matter(push(run_folder, dry_run=True, license="cc-by-4.0").card)
    assert metadata["license"] == "cc-by-4.0"


def test_a_card_of_a_checkpoint_alone_says_less(run_folder, tmp_path):
    origin = {"encoder": "hf_hub:mwalmsley/zoobot-encoder-x@refs/pr/1", "sha256": None, "pixels": ""}
    alone = write_model(tmp_path / "alone", origin=origin, training={})
    metadata, body = front_matter(push(alone, dry_run=True).card)
    assert metadata["base_model"] == "mwalmsley/zoobot-encoder-x"
    assert "The records do not say which galaxies taught it" in body
    assert "It has no scores here" in body
    assert "not calibrated" in body
    assert "## Scores" not in body
    encoder = write_model(tmp_path / "encoder", task=None, head=None, head_tensors={})
    result = push(encoder, dry_run=True)
    assert set(result.files) == {"config.json", "README.md", "model.safetensors"}
    metadata, body = front_matter(result.card)
    assert metadata["pipeline_tag"] == "image-feature-extraction"
    assert "zoobot predict" not in body


def test_a_dry_run_asks_nobody(run_folder, loopback_hub):
    result = push(run_folder, dry_run=True)
    assert loopback_hub.asked == []
    for words in ("Nothing was sent", "model.safetensors", "bytes", "# rings"):
        assert words in result.report()


def test_a_card_that_is_there_is_kept_unless_asked(run_folder, loopback_hub):
    loopback_hub.make("me/rings", **{"README.md": b"# by hand\n"})
    result = push(run_folder)
    assert result.kept_card
    assert "--overwrite-card" in result.report()
    assert loopback_hub.files("me/rings")["README.md"] == b"# by hand\n"
    assert "model.safetensors" in loopback_hub.files("me/rings")
    assert not push(run_folder, overwrite_card=True).kept_card
    assert b"# rings" in loopback_hub.files("me/rings")["README.md"]
    assert not push(run_folder).kept_card


def test_private_repositories_and_branches(run_folder, loopback_hub):
    push(run_folder, private=True)
    assert loopback_hub.repositories["me/rings"]["private"]
    before = dict(loopback_hub.files("me/rings"))
    result = push(run_folder, private=True, revision="v2", license="mit")
    assert result.name == "hf_hub:me/rings@v2"
    assert result.url.endswith("/me/rings/tree/v2")
    assert loopback_hub.files("me/rings") == before
    assert b"license: mit" not in loopback_hub.files("me/rings", "v2")["README.md"]
    assert result.kept_card
    loopback_hub.make("me/open")
    with pytest.raises(ConfigError, match="public: --private can't hide it"):
        push(run_folder, "me/open", private=True)
    assert loopback_hub.files("me/open") == {}


@pytest.mark.parametrize(
    ("piece", "answer", "message"),
    [
        ("/api/repos/create", (401, "no"), r"does not know your token.*hf auth login.*HF_TOKEN.*401"),
        ("/api/repos/create", (403, "no rights"), r"may not write to me"),
        ("/api/repos/create", (404, "no owner"), r"there is no me on the Hub"),
        ("/api/repos/create", (429, "slow down"), r"asked too often"),
        ("/api/repos/create", (500, "oh"), r"could not do it"),
        ("/commit/", (409, "somebody was faster"), r"at the same time: try again"),
        ("/commit/", (413, "large"), r"larger than the Hub takes"),
    ],
)
def test_refusals_are_told_in_our_words(run_folder, loopback_hub, piece, answer, message):
    loopback_hub.refuse[piece] = answer
    with pytest.raises(HubError, match=message):
        push(run_folder)
    assert not loopback_hub.commits


def test_another_owner_another_token_and_none(run_folder, loopback_hub, monkeypatch):
    with pytest.raises(HubError, match="may not write to somebody"):
        push(run_folder, "somebody/rings")
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(HubError, match="does not know your token") as caught:
        push(run_folder)
    assert "hf_another" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    asked = len(loopback_hub.asked)
    with pytest.raises(HubError, match=r"hf auth login.*HF_TOKEN"):
        push(run_folder)
    assert len(loopback_hub.asked) == asked


def test_a_license_that_the_hub_does_not_know(run_folder, loopback_hub):
    with pytest.raises(HubError, match=r"license.*mit, cc-by-4.0|does not accept"):
        push(run_folder, license="mine")
    assert not loopback_hub.commits


def test_nobody_answers(run_folder, loopback_hub, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free}")
    with pytest.raises(HubError, match=f"can't send me/rings to http://127.0.0.1:{free}"):
        push(run_folder)


@pytest.mark.parametrize(
    "name", ["rings", "me/rings/x", "me/", "../rings", "me/a--b", "me/r@main", "me/" + "r" * 97]
)
def test_names_that_are_none(run_folder, name):
    with pytest.raises(ConfigError, match=r"owner/name|96 letters"):
        push(run_folder, name, dry_run=True)
    assert push(run_folder, "hf_hub:me/rings", dry_run=True).repository == "me/rings"


def test_names_that_would_break_the_card(tmp_path):
    task = ClassificationTask(label_cols=("kind",), class_names=("a|b", "c`\n# d", "[@paszke2019pytorch]"))
    metadata, body = front_matter(
        push(write_model(tmp_path / "odd", task=task.to_config()), dry_run=True).card
    )
    assert metadata["library_name"] == "zoobot"
    assert "`a|b`, `c' # d`, `[ @paszke2019pytorch]`" in body
    assert "\n# d" not in body
    about = {"input_size": [3, 32, 32], "file": f"{PRIVATE}/weights.bin", "first_conv": "conv1"}
    sent = push(write_model(tmp_path / "timm", pretrained_cfg=about), dry_run=True)
    assert sent.files["config.json"] < len((tmp_path / "timm" / "config.json").read_bytes())


def test_a_run_that_did_not_end_says_so_on_its_card(run_folder):
    record = json.loads((run_folder / "run.json").read_text())
    (run_folder / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    assert "did not end as it should: it is `interrupted`" in push(run_folder, dry_run=True).card


def test_what_is_not_sent_at_all(run_folder, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="does not exist"):
        push(tmp_path / "nothing", dry_run=True)
    made = write_model(tmp_path / "module", architecture="module:mine.Network")
    with pytest.raises(CheckpointError, match=r"mine\.Network.*nobody could load it by name"):
        push(made, dry_run=True)
    monkeypatch.chdir(tmp_path)
    task = ClassificationTask(label_cols=("kind",), class_names=("disk", f"{tmp_path}/rings"))
    named = write_model(tmp_path / "named", task=task.to_config())
    with pytest.raises(ConfigError, match="a folder of yours, so nothing was sent"):
        push(named, dry_run=True)


def test_an_encoder_in_a_pickle_is_sent_as_safetensors(publish, tmp_path, loopback_hub):
    arrays = {"conv1.weight": np.ones((2, 3, 3, 3), "f4")}
    push(publish(tmp_path / "old", "test_resnet", arrays))
    assert set(loopback_hub.files("me/rings")) == {"config.json", "README.md", "model.safetensors"}
