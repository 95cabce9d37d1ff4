"""Campaigns round by round with simulated volunteers, whose platform gives exports as the Zooniverse does."""

import importlib
import json
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import zoobot
from zoobot import workflow
from zoobot.cli import main
from zoobot.shared.errors import CatalogError, ConfigError, LabelError
from zoobot.workflow import campaign as start_or_go_on
from zoobot.workflow import campaign_options
from zoobot.workflow.campaign_votes import read_votes, read_what_is_asked

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


#: Where no engine is asked, or one is enough.
once = pytest.mark.parametrize("engine_name", ["pytorch"])


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
def hurried(monkeypatch):
    """No picture is drawn, and no file waited for until the disk has it: in many rounds that takes long."""
    monkeypatch.setattr("zoobot.shared.files.whole.sync", lambda _: None)
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


def upload_of(result):
    return result.folder / f"round-{result.round:02}" / "asked.zooniverse"


@pytest.mark.usefixtures("hurried")
def test_rounds_with_volunteers(go, survey, tmp_path, engine_name):
    rounds = 10 if engine_name == "pytorch" else 2
    platform, ways = Platform(survey), {4: {"score": "random"}, 6: {"score": "bald", "diversity": "kmeans++"}}
    ways[7] = {"diversity": "none"}
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
    (result.folder / "round-02" / "exports" / "01-export.csv").unlink()
    with pytest.raises(CatalogError, match=r"round-02/exports lacks \['01-export.csv'\]"):
        go(next=True, votes=str(tmp_path / "older.csv"))


class KilledError(Exception):
    """Stands for a kill: nothing that comes after it is done."""


def die_at(monkeypatch, place, *, after=0):
    """Have a function end the process, so to speak, instead of doing its work for the `after` + 1st time."""
    module, _, name = place.rpartition(".")
    module, done = importlib.import_module(module), []
    work = getattr(module, name)

    def killed(*args, **options):
        done.append(1)
        if len(done) > after:
            raise KilledError(place)
        return work(*args, **options)

    monkeypatch.setattr(module, name, killed)


#: A step, and how often it is done before the kill.
PLACES = [
    ("shutil.copyfile", 0),
    ("zoobot.workflow.campaign.write_safely", 0),
    ("zoobot.workflow.finetune._train", 0),
    ("zoobot.workflow.finetune._report", 0),
    ("zoobot.workflow.campaign.predict", 1),
    ("zoobot.workflow.prioritise.write_list", 0),
    ("zoobot.workflow.prioritise._attempt_first", 0),
    ("zoobot.workflow.campaign.attempt_picture", 0),
]


@once
@pytest.mark.usefixtures("hurried")
def test_a_round_that_is_killed_again_and_again_is_that_of_one_that_was_not(
    go, survey, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    platform = Platform(survey)
    platform.upload(upload_of(go("whole", start=True, ask=8, diversity="none")))
    platform.classify(["ann", "bob"])
    export = platform.export(tmp_path / "export.csv")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    whole = go("whole", next=True, votes=export, ask=5)
    for place, after in PLACES:
        began = (tmp_path / "killed" / "round-02" / "exports").is_dir()
        given = {} if began else {"votes": export, "ask": 5}
        with monkeypatch.context() as patch:
            die_at(patch, place, after=after)
            with pytest.raises(KilledError):
                go("killed", next=True, **given)
    assert go("killed").is_under_way
    with monkeypatch.context() as patch:
        for step in ("finetune", "predict", "prioritise"):  # all are done
            die_at(patch, f"zoobot.workflow.campaign.{step}")
        result = go("killed", next=True, votes=export, ask=5)  # the same command
    pd.testing.assert_frame_equal(result.table, whole.table)
    pd.testing.assert_frame_equal(result.curves, whole.curves)
    listed = [{path.name for path in (one.folder / "round-02").iterdir()} for one in (result, whole)]
    assert listed[0] == listed[1]


@once
def test_a_killed_process_goes_on(go, survey, tmp_path, start_zoobot, engine_name):
    pytest.importorskip("torch")
    platform = Platform(survey)
    folder = upload_of(go(start=True, ask=8, diversity="none")).parents[1]
    platform.upload(folder / "round-01" / "asked.zooniverse")
    platform.classify(["ann", "bob"])
    words = ["campaign", folder, "--next", "--votes", platform.export(tmp_path / "export.csv")]
    process = start_zoobot(engine_name, words)
    while process.poll() is None and not (folder / "round-02" / "model" / "run.json").is_file():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert go().is_under_way
    assert "under way" in go().report()
    result = go(next=True)
    assert (result.round, len(result.table), result.is_under_way) == (2, 8, False)


@pytest.fixture
def begun(go, survey, tmp_path):
    """A campaign that has asked, and its platform."""
    platform = Platform(survey)
    result = go(start=True, ask=8)
    platform.upload(upload_of(result))
    return result.folder, platform


def left(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@once
@pytest.mark.usefixtures("hurried")
def test_the_first_galaxies_may_be_typical_ones(go):
    pytest.importorskip("torch")
    result = go(start=True, ask=8, first="typical")
    reasons = {"typical start": 6, "held out, random": 2}
    assert result.table["reason"].value_counts().to_dict() == reasons
    assert result.curves["by"].tolist() == ["typical start"]
    assert len(set(pd.read_csv(upload_of(result) / "manifest.csv")["!id_str"])) == 8
    typical = pd.read_csv(result.folder / "round-01" / "typical.csv")["id_str"]
    assert set(typical) == set(result.table["id_str"][result.table["reason"] == "typical start"])


@once
def test_images_that_nobody_can_read_are_told_beside_the_first_list(go, survey, tmp_path):
    table = pd.read_csv(survey).head(5)
    table["file_loc"] = [str(survey.parent / name) for name in table["file_loc"]]
    (tmp_path / "torn.jpg").write_bytes(b"no image")
    table.loc[2, "file_loc"] = str(tmp_path / "torn.jpg")
    table.to_csv(tmp_path / "five.csv", index=False)
    folder = go(start=True, catalog=str(tmp_path / "five.csv"), ask=5).folder / "round-01"
    assert pd.read_csv(folder / "asked.failures.csv")["id_str"].tolist() == [table["id_str"][2]]
    assert len(pd.read_csv(folder / "asked.zooniverse" / "manifest.csv")) == 4


@once
def test_what_can_not_be_taken_in_is_refused_before_anything_is_kept(go, begun, tmp_path):
    folder, platform = begun
    platform.classify(["ann", "bob"])
    before, export = left(folder), platform.export(tmp_path / "export.csv")
    table = pd.read_csv(export, dtype=str)
    table.assign(workflow_id="78").to_csv(tmp_path / "other.csv", index=False)
    counts = {"subject_id": [1], "task": ["T0"], "data.smooth": [3]}
    pd.DataFrame(counts).to_csv(tmp_path / "counts.csv", index=False)
    table.head(1).to_csv(tmp_path / "one.csv", index=False)
    table.to_csv(tmp_path / "lost.csv", index=False)
    lost = table["subject_data"].str.replace("sim-42", "sim-7")
    table.assign(subject_data=lost).to_csv(tmp_path / "lost.csv", index=False)
    for name, error, words in [
        (
            "other.csv",
            CatalogError,
            r"no classification of .* workflow, 77 .*of another workflow",
        ),
        ("counts.csv", CatalogError, "counts, not single classifications.*`zoobot votes`"),
        ("one.csv", CatalogError, "votes on . galaxies to learn from.*at least 2"),
        ("lost.csv", CatalogError, "no galaxy with votes is in"),
        ("absent.csv", ConfigError, "there is no file"),
    ]:
        with pytest.raises(error, match=words):
            go(next=True, votes=str(tmp_path / name))
    with pytest.raises(ConfigError, match="what was answered since"):
        go(next=True)
    with pytest.raises(ConfigError, match="keeps its seed, which was 42, now 3"):
        go(next=True, votes=export, seed=3)
    with pytest.raises(ConfigError, match=r"options change with a round: add --next \(ask was 8, now 3\)"):
        go(ask=3)
    with pytest.raises(ConfigError, match="there is no campaign in"):
        go("elsewhere", next=True, votes=export)
    assert left(folder) == before


@once
def test_a_catalog_may_grow_but_not_lose_what_was_asked(go, begun, survey, tmp_path, caplog):
    folder, _ = begun
    asked = pd.read_csv(folder / "round-01" / "asked.csv")
    table = pd.read_csv(survey)
    table["file_loc"] = [str(survey.parent / name) for name in table["file_loc"]]
    table[table["id_str"] != asked["id_str"][0]].to_csv(tmp_path / "less.csv", index=False)
    table.head(59).to_csv(tmp_path / "other.csv", index=False)
    lacking = pd.DataFrame({"id_str": table["id_str"].head(1), **dict.fromkeys(COLUMNS, 0)})
    lacking.to_csv(tmp_path / "votes.csv", index=False)
    with pytest.raises(CatalogError, match=f"lacks 1 galaxies .* such as \\['{asked['id_str'][0]}'\\]"):
        go(next=True, votes=str(tmp_path / "votes.csv"), catalog=str(tmp_path / "less.csv"))
    keeps = asked["id_str"].isin(table["id_str"].head(59)).all()
    assert keeps
    with pytest.raises(CatalogError, match="votes on 0 galaxies"):
        go(next=True, votes=str(tmp_path / "votes.csv"), catalog=str(tmp_path / "other.csv"))
    assert "60 galaxies then, 59 now" in caplog.text


@once
@pytest.mark.usefixtures("hurried")
def test_labels_by_hand_make_a_campaign_without_a_platform(go, survey, tmp_path):
    pytest.importorskip("torch")
    options = {"labels": ("kind",), "class_names": ("round", "other"), "workflow": None, "score": "margin"}
    result = go(start=True, ask=10, **options)
    assert not upload_of(result).exists()
    told = f"explore {result.folder}/round-01/asked.csv --annotate classes --classes round other"
    assert f"zoobot {told} --label-col kind\n" in result.report()
    assert main([*told.split(), "--label-col", "kind"]) == 0
    truth = pd.read_csv(survey).set_index("id_str")["label_name"]
    labels = pd.DataFrame({"id_str": result.table["id_str"]})
    labels["kind"] = ["round" if truth[one].startswith("smooth") else "other" for one in labels["id_str"]]
    wrong = labels.head(2).assign(kind="other")
    wrong.to_csv(tmp_path / "first.csv", index=False)
    labels.assign(note="clicked").to_csv(tmp_path / "second.csv", index=False)
    labels.assign(kind="merger").to_csv(tmp_path / "odd.csv", index=False)
    with pytest.raises(LabelError, match="merger"):
        go(next=True, votes=str(tmp_path / "odd.csv"))
    result = go(next=True, votes=(str(tmp_path / "first.csv"), str(tmp_path / "second.csv")), ask=60)
    votes = votes_of(result.folder, 2)
    assert votes["kind"].to_dict() == labels.set_index("id_str")["kind"].to_dict()
    assert len(result.table) == 50  # all the others
    assert json.loads((result.folder / "campaign.json").read_text())["rounds"][1]["notes"] == [
        "2 rows of tables are replaced by newer ones of the same galaxies",
        "the catalog's own kind are not used: people say them",
    ]
    assert result.curves["score"].iloc[-1] == "accuracy"


def test_the_command_line_starts_and_tells(survey, asked_what, tmp_path, capsys):
    folder = tmp_path / "shapes"
    words = ["campaign", str(folder), "--catalog", str(survey), "--ask", "6"]
    assert main(words) == 2
    assert "there is nothing to learn yet" in capsys.readouterr().err
    assert main([*words, "--workflow", asked_what]) == 0
    said = capsys.readouterr().out
    for part in ("6 galaxies to ask about, by random start", "ready to upload", "--next --votes ANSWERS.csv"):
        assert part in said
    assert main(["campaign", str(folder)]) == 0
    assert capsys.readouterr().out == said
    result = zoobot.campaign(folder)
    assert len(result.table) == 6
    elsewhere = tmp_path / "elsewhere.json"
    shutil.copyfile(asked_what, elsewhere)
    assert main([*words, "--workflow", str(elsewhere)]) == 0
    elsewhere.write_text(json.dumps(WORKFLOW | {"display_name": "Other shapes"}))
    capsys.readouterr()
    assert main([*words, "--workflow", str(elsewhere)]) == 2
    assert f"keeps its workflow, and {elsewhere} is not as" in capsys.readouterr().err
    assert main(["campaign", str(folder), "--votes", "x.csv"]) == 2
    assert "add --next" in capsys.readouterr().err


@once
def test_votes_of_tables_are_added_to_those_of_volunteers(begun, tmp_path):
    folder, platform = begun
    platform.classify(["ann"])
    platform.export(tmp_path / "first.csv.gz")
    platform.classify(["ann", "bob"])  # ann looks again
    second = platform.export(tmp_path / "second.csv")
    galaxy = next(iter(platform.truth))
    clicked = pd.DataFrame([{"id_str": galaxy, **dict.fromkeys(COLUMNS, 0), COLUMNS[0]: 1}])
    clicked.to_csv(tmp_path / "clicked.csv", index=False)
    options = replace(
        campaign_options({"campaign": str(folder)}), id_col="objid"
    )  # which the table calls id_str
    sources = [tmp_path / name for name in ("first.csv.gz", "second.csv", "clicked.csv")]
    found = read_votes(sources, read_what_is_asked(folder, options), options)
    assert found.classifications == 16
    again = 8
    assert f"left out: {again} of a volunteer who had classified the subject before" in found.notes
    alone = workflow.votes(
        workflow.VotesOptions(
            export=second, workflow=str(folder / "workflow.json"), save_loc=tmp_path / "v.csv"
        )
    )
    hand_count = pd.read_csv(alone.save_loc).set_index("id_str")[COLUMNS]
    hand_count.loc[galaxy, COLUMNS[0]] += 1
    got = found.table.set_index("id_str")[COLUMNS].astype(int)
    pd.testing.assert_frame_equal(got.sort_index(), hand_count.sort_index())
