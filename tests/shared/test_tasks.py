"""Tasks: what labels they accept, what columns they predict, and how they are written down."""

import numpy as np
import pytest

from zoobot.shared import tasks
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.schemas import Schema

SCHEMA = Schema.from_pairs({"shape": ["smooth", "disk"], "bar": ["yes", "no"]}, {"bar": "shape_disk"})
CLASSES = tasks.ClassificationTask(class_names=("spiral", "ring"), label_cols=("kind",))
LABELS = tasks.MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
TARGETS = tasks.RegressionTask(num_targets=2, label_cols=("size", "T"))
TREE = tasks.TreeTask(schema=SCHEMA)
IDS = ["a", "b", "c"]


@pytest.mark.parametrize("task", [CLASSES, LABELS, TARGETS, TREE])
def test_a_task_comes_back_from_its_config(task):
    assert tasks.from_config(task.to_config()) == task


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        (CLASSES, ["kind_spiral_probability", "kind_ring_probability"]),
        (LABELS, ["ring_probability", "bar_probability"]),
        (TARGETS, ["size_predicted", "T_predicted"]),
        (TREE, [f"{c}_concentration" for c in ("shape_smooth", "shape_disk", "bar_yes", "bar_no")]),
    ],
)
def test_output_columns_say_what_the_numbers_are(task, columns):
    assert task.output_columns == columns
    assert task.num_outputs == len(columns)


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        (CLASSES, [[0], [np.nan], [1]], "'b'"),
        (CLASSES, [[0], [1], [2]], "0 to 1"),
        (CLASSES, [[0], [1], [0.5]], "whole numbers"),
        (LABELS, [[0, 1], [1, 0.5], [1, 1]], "'bar' of galaxy 'b'"),
        (LABELS, [[0, 1], [1, 0], [np.nan, np.nan]], "at least one label"),
        (TARGETS, [[1, 2], [np.inf, 2], [1, 2]], "finite or missing"),
        (TREE, [[1, 2, 0, 0], [3, -1, 0, 0], [1, 1, 1, 0]], "b"),
    ],
)
def test_bad_labels_are_refused_with_the_galaxy_named(task, labels, words):
    with pytest.raises(LabelError, match=words):
        task.check_labels(np.array(labels, dtype=float), IDS)


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (CLASSES, [[0], [1], [1]]),
        (LABELS, [[0, 1], [1, np.nan], [1, 1]]),
        (TARGETS, [[1, 2], [np.nan, 2], [1, np.nan]]),
        (TREE, [[1, 2, 0, 0], [3, 1, np.nan, np.nan], [1, 1.5, 1, 0]]),
    ],
)
def test_good_labels_pass(task, labels):
    task.check_labels(np.array(labels, dtype=float), IDS)


def test_unit_interval_targets_must_lie_in_it():
    task = tasks.RegressionTask(unit_interval=True, label_cols=("f",))
    with pytest.raises(LabelError, match=r"\[0, 1\]"):
        task.check_labels(np.array([[0.5], [1.2]]), ["a", "b"])


def test_binding_takes_columns_once():
    free = tasks.classification_task(num_classes=3, class_names=None, multi_label=False, label_cols=None)
    assert free.bind(["kind"]).label_cols == ("kind",)
    with pytest.raises(ConfigError, match="needs 1 label column"):
        free.bind(["kind", "bar"])
    with pytest.raises(ConfigError, match="made for the label columns"):
        CLASSES.bind(["other"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: tasks.classification_task(
            num_classes=None, class_names=None, multi_label=False, label_cols=["a"]
        ),
        lambda: tasks.classification_task(
            num_classes=2, class_names=["x", "y", "z"], multi_label=False, label_cols=None
        ),
        lambda: tasks.regression_task(num_targets=1, label_cols=["a", "b"], unit_interval=False),
        lambda: tasks.ClassificationTask(class_names=("same", "same")),
        lambda: tasks.TreeTask(schema=SCHEMA, label_cols=("other",)),
        lambda: tasks.from_config({"kind": "clustering"}),
    ],
)
def test_contradictions_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_metrics_are_named_and_right():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert CLASSES.metrics(probabilities, np.array([[0.0], [1.0], [1.0]]))["accuracy"] == pytest.approx(2 / 3)
    scores = TARGETS.metrics(np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[0.0, np.nan], [3.0, 1.0]]))
    assert scores["rmse_size"] == pytest.approx(np.sqrt(0.5))
    assert scores["rmse_T"] == pytest.approx(1.0)
