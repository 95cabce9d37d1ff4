"""Campaigns round by round with simulated volunteers, whose platform gives exports as the Zooniverse does."""

import importlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

import zoobot
from zoobot.cli import main
from zoobot.shared.errors import CatalogError, ConfigError, LabelError
from zoobot.workflow import campaign as start_or_go_on
from zoobot.workflow import campaign_options

pytestmark = pytest.mark.usefixtures("all_undrawn")

WORKFLOW = {
    "id": "77",
    "display_name": "Shapes",
    "first_task": "T0",
    "tasks": {
        "T0": {
            "type": "single",
            "question": "Is it smooth?",
            "answers": [{"label": "Smooth"}, {"label": "Features", "next": "T1"}, {"label": "Artifact"}],
        },
        "T1": {"type": "single", "question": "Edge-on?", "answers": [{"label": "Yes"}, {"label": "No"}]},
    },
}
ANSWERS = {"T0": ["Smooth", "Features", "Artifact"], "T1": ["Yes", "No"]}
COLUMNS = [
    "is-it-smooth_smooth",
    "is-it-smooth_features",
    "is-it-smooth_artifact",
    "edge-on_yes",
    "edge-on_no",
]
QUICK = {
    "encoder": "test_resnet",
    "image_size_pix": 32,
    "max_epochs": 1,
    "batch_size": 8,
    "num_workers": 1,
    "accelerator": "cpu",
    "progress": False,
    "bootstrap": 0,
    "calibrate": False,
    "n_samples": 2,
}


class Platform:
    """A platform with volunteers, who exist: subjects come from manifests, exports hold all so far.

    Args:
        survey: The catalog that says what the galaxies are.
        retires_at: Classifications after which nobody is asked about a subject any more.
    """

    def __init__(self, survey, *, retires_at=4):
        table = pd.read_csv(survey).set_index("id_str")
        self.kinds = table["label_name"].to_dict()
        self.retires_at = retires_at
        self.rng = np.random.default_rng(5)
        self.subjects, self.rows, self.truth = {}, [], {}

    def upload(self, folder):
        """Make subjects of what a manifest lists, with the images that it names."""
        manifest = pd.read_csv(folder / "manifest.csv", dtype=str)
        for row in manifest.to_dict("records"):
            assert (folder / row["image"]).stat().st_size > 0
            self.subjects[str(9000 + len(self.subjects))] = row

    def classify(self, volunteers, *, only=lambda place: True):
        """Let everybody look once at each subject that is not retired."""
        for place, (subject, about) in enumerate(self.subjects.items()):
            for user in volunteers if only(place) else ():
                if self._count(subject) < self.retires_at:
                    self._answer(user, subject, about)

    def _count(self, subject):
        return sum(row["subject_ids"] == subject for row in self.rows)

    def _answer(self, user, subject, about):
        galaxy = about["!id_str"]
        first = 0 if self.kinds[galaxy].startswith("smooth") else 1
        first = first if self.rng.random() < 0.8 else int(self.rng.integers(3))
        answers = {"T0": first} | ({"T1": int(self.kinds[galaxy] != "edge-on")} if first == 1 else {})
        votes = self.truth.setdefault(galaxy, dict.fromkeys(COLUMNS, 0))
        for task, place in answers.items():
            votes[COLUMNS[place + (3 if task == "T1" else 0)]] += 1
        row = {
            "classification_id": 500_000 + len(self.rows),
            "user_name": user,
            "user_id": "",
            "user_ip": "a1b2c3",
            "workflow_id": "77",
            "workflow_name": "Shapes",
            "workflow_version": "12.34",
            "created_at": "2024-03-01 10:00:00 UTC",
            "gold_standard": "",
            "expert": "",
            "metadata": json.dumps({"source": "api", "session": "s"}),
            "annotations": json.dumps(
                [{"task": task, "task_label": "?", "value": ANSWERS[task][v]} for task, v in answers.items()]
            ),
            "subject_data": {subject: {"retired": None, **about}},
            "subject_ids": subject,
        }
        self.rows.append(row)

    def export(self, path):
        """All classifications so far, in the form of the Zooniverse's export."""
        full = {one for one in self.subjects if self._count(one) >= self.retires_at}
        rows = []
        for row in self.rows:
            ((subject, about),) = row["subject_data"].items()
            retired = {"retired_at": "2024-04-01T00:00:00.000Z"} if subject in full else None
            rows.append(row | {"subject_data": json.dumps({subject: about | {"retired": retired}})})
        pd.DataFrame(rows).to_csv(path, index=False)
        return str(path)

    def retired(self):
        return {
            about["!id_str"] for one, about in self.subjects.items() if self._count(one) >= self.retires_at
        }


@pytest.fixture
def pictureless(monkeypatch):
    """No picture is drawn: in many rounds they take most of the time."""
    for name in ("campaign", "evaluate", "finetune", "prioritise", "starting"):
        module = importlib.import_module(f"zoobot.workflow.{name}")
        assert hasattr(module, "attempt_picture")
        monkeypatch.setattr(module, "attempt_picture", lambda *_, **__: None)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    from zoobot.simulate import simulate_survey

    return simulate_survey(tmp_path_factory.mktemp("campaign") / "survey", n_galaxies=60, image_size_pix=32)


@pytest.fixture(scope="module")
def asked_what(tmp_path_factory):
    path = tmp_path_factory.mktemp("asked") / "workflow.json"
    path.write_text(json.dumps(WORKFLOW))
    return str(path)


@pytest.fixture
def go(tmp_path, survey, asked_what, engine_name):
    """Start a campaign, or go on with it, as the command line does."""

    def go(name="c", *, start=False, **changes):
        given = {"campaign": str(tmp_path / name), **changes}
        if start:
            given = {
                "catalog": str(survey),
                "workflow": asked_what,
                "ask": 12,
                "backend": engine_name,
            } | given
            given = QUICK | given
        return start_or_go_on(campaign_options(given))

    return go


def votes_of(folder, number):
    return pd.read_csv(folder / f"round-{number:02}" / "votes.csv").set_index("id_str")


def votes_of(folder, number):
    return pd.read_csv(folder / f"round-{number:02}" / "votes.csv").set_index("id_str")


def upload_of(result):
    return result.folder / f"round-{result.round:02}" / "asked.zooniverse"


@pytest.mark.usefixtures("pictureless")
def test_rounds_with_volunteers(go, survey, tmp_path, engine_name):
    rounds = 10 if engine_name == "pytorch" else 2
    platform, ways = Platform(survey), {4: {"score": "random"}, 6: {"score": "bald", "diversity": "kmeans++"}}
    ways[8] = {"answer": COLUMNS[1], "fraction": 0.05, "probability": 0.05, "random_share": 0.5}
    ways[9] = {"score": "bald"}
    result = go(start=True, diversity="none")
    listed = result.table
    assert listed["reason"].value_counts().to_dict() == {"random start": 9, "held out, random": 3}
    aside, asked = set(listed["id_str"][listed["reason"] != "random start"]), set(listed["id_str"])
    for number in range(2, rounds + 1):
        platform.upload(upload_of(result))
        platform.classify([f"ann-{number}", f"bob-{number}", "cleo"])
        platform.rows += [
            row | {"classification_id": 10**6} for row in platform.rows if row["user_name"] == "cleo"
        ][:1]
        result = go(next=True, votes=platform.export(tmp_path / "export.csv"), ask=4, **ways.get(number, {}))
        assert result.round == number
        assert not set(result.table["id_str"]) & asked
        asked |= set(result.table["id_str"])
        votes = votes_of(result.folder, number)
        assert votes[COLUMNS].to_dict("index") == platform.truth
        assert set(votes.index[votes["campaign_part"] == "held out"]) == aside
    platform.upload(upload_of(result))
    assert [about["!id_str"] for about in platform.subjects.values()][-len(result.table) :] == result.table[
        "id_str"
    ].tolist()
    curves = pd.read_csv(result.folder / "rounds.csv")
    assert len(curves) == rounds
    assert (curves["held_out"][1:] == 3).all()
    assert np.isfinite(curves["now"][1:]).all()
    assert curves["retired"].iloc[-1] == len(platform.retired() & set(votes.index))
    by = {4: "random", 6: "bald", 8: f"P({COLUMNS[1]} ≥ 0.05)"}
    assert {n: word for n, word in curves.set_index("round")["by"].items() if n in by} == {
        n: word for n, word in by.items() if n <= rounds
    }
    with pytest.raises(ConfigError, match="was taken in by an earlier round"):
        go(next=True, votes=str(tmp_path / "export.csv"))
    pd.read_csv(tmp_path / "export.csv", dtype=str).iloc[:-3].to_csv(tmp_path / "older.csv", index=False)
    with pytest.raises(ConfigError, match="no new votes"):
        go(next=True, votes=str(tmp_path / "older.csv"))
    assert go().report() == result.report()
