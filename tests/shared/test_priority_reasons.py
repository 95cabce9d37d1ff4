"""Reasons in words, for every kind of task."""

import json

import numpy as np
import pandas as pd
import pytest

from zoobot.choosing.acquisition import only_parts, score_galaxies
from zoobot.choosing.priority_list import COLUMNS, check_list_place, explain, worth_asking, write_list
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError, WriteError
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, tree_task


def test_classes_are_named_two_by_two():
    task = ClassificationTask(class_names=("round", "cigar", "spiral"))
    p = np.array([[[0.1, 0.5, 0.4]], [[0.1, 0.3, 0.6]]])
    reasons, expected = explain(task, score_galaxies(task, p), p)
    assert reasons == ["spiral or cigar"]
    assert expected == ["spiral 0.50, cigar 0.40, round 0.10"]
    assert worth_asking(task, score_galaxies(task, p), p) == [[]]


def test_labels_and_numbers_are_named_by_their_columns():
    labels = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    p = np.array([[[0.9, 0.1]], [[0.9, 0.7]]])
    assert explain(labels, score_galaxies(labels, p), p) == (["bar"], ["0.40"])
    numbers = RegressionTask(num_targets=1, label_cols=("T",))
    values = np.array([[[3.0], [1.0]], [[5.0], [1.0]]])
    reasons, expected = explain(numbers, score_galaxies(numbers, values), values)
    assert reasons == ["T", "T"]
    assert expected == ["4 ± 1", "1 ± 0"]


def test_a_tree_names_its_question_and_what_is_worth_asking():
    task = tree_task(schemas.get("gz_rings"))
    alpha = np.array([[[30.0, 10.0]], [[10.0, 30.0]]])
    found = score_galaxies(task, alpha)
    assert explain(task, found, alpha) == (["ring"], ["Yes 0.50, No 0.50"])
    assert worth_asking(task, found, alpha) == [[{"question": "ring", "share": 1.0, "asked": 1.0}]]


def test_random_choice_has_no_reason():
    task = tree_task(schemas.get("gz_rings"))
    alpha = np.ones((1, 2, 2))
    found = score_galaxies(task, alpha, score="random")
    assert explain(task, found, alpha)[0] == ["random", "random"]
    assert worth_asking(task, found, alpha) == [[], []]


def test_parts_that_do_not_count_are_nothing():
    task = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    p = np.random.default_rng(0).uniform(size=(3, 5, 2))
    found = score_galaxies(task, p)
    only = only_parts(found, ["ring"])
    np.testing.assert_array_equal(only.score, found.parts[:, 0])
    assert set(only.reasons) == {"ring"}
    with pytest.raises(ConfigError, match="did you mean ring"):
        only_parts(found, ["rings"])


def test_a_list_is_written_whole_or_not_at_all(tmp_path):
    row = [1, "007", "/a/007.jpg", 0.5, "ring", "Yes 0.50", float("nan"), 1.0]
    table = pd.DataFrame([row], columns=list(COLUMNS))
    path = check_list_place(tmp_path / "new" / "list.json", overwrite=False)
    write_list(path, table, [[{"question": "ring", "share": 1.0}]], {"score": "bald"})
    (subject,) = json.loads(path.read_text())["subjects"]
    assert subject["subject_id"] == "007"
    assert subject["distance"] is None
    with pytest.raises(ValueError, match="JSON compliant"):
        write_list(path, table, [[]], {"score": float("nan")})
    assert json.loads(path.read_text())["subjects"] == [subject]
    with pytest.raises(ConfigError, match="exists"):
        check_list_place(path, overwrite=False)


@pytest.mark.parametrize("name", ["list.csv", "list.json"])
def test_a_full_disk_leaves_the_older_list(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_text("older")
    table = pd.DataFrame({column: [1.0] for column in COLUMNS})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoobot.shared.files.whole.sync", full)
    with pytest.raises(WriteError, match="No space left on device; the older file is kept"):
        write_list(path, table, [[]], {"score": "variance"})
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == [name]
