"""Which answer is meant by a name."""

import numpy as np
import pytest

from zoobot.shared.errors import ConfigError
from zoobot.shared.explaining.saliency import find_answers, most_likely
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask

TREE = TreeTask(
    schema=Schema.from_pairs(
        {"shape": ["edge-on", "round"], "bar": ["yes", "no", "weak"]}, {"bar": "shape_round"}
    )
)


def test_classes_labels_and_targets_are_found_by_name():
    classes = ClassificationTask(class_names=("round", "edge-on"), label_cols=("kind",))
    assert [found.column for found in find_answers(classes, "edge-on")] == [1]
    assert [found.name for found in find_answers(classes)] == ["round", "edge-on"]
    labels = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    assert [found.column for found in find_answers(labels, "bar")] == [1]
    assert [found.name for found in find_answers(MultiLabelTask(num_labels=2))] == ["label 0", "label 1"]
    assert find_answers(RegressionTask(label_cols=("T",)))[0].name == "T"


def test_a_question_means_its_answers_and_an_answer_itself():
    bar = find_answers(TREE, "bar")
    assert [found.name for found in bar] == ["bar_yes", "bar_no", "bar_weak"]
    assert all(found.question == slice(2, 5) for found in bar)
    assert [found.column for found in find_answers(TREE, "bar_weak")] == [4]
    assert [found.name for found in find_answers(TREE)] == ["shape_edge-on", "shape_round"]


def test_values_are_shares_of_a_question_or_what_is_predicted():
    concentrations = np.array([[1.0, 3.0, 2.0, 2.0, 6.0], [4.0, 4.0, 6.0, 1.0, 1.0]])
    assert find_answers(TREE, "bar_weak")[0].value(concentrations).tolist() == [0.6, 0.125]
    assert most_likely(find_answers(TREE, "bar"), concentrations[0]).name == "bar_weak"
    assert most_likely(find_answers(TREE, "bar"), concentrations[1]).name == "bar_yes"
    classes = find_answers(ClassificationTask(class_names=("a", "b")))
    assert most_likely(classes, np.array([0.2, 0.8])).name == "b"


def test_unknown_names_are_refused_with_near_ones():
    with pytest.raises(ConfigError, match=r"'bar_yess'.*did you mean bar_yes"):
        find_answers(TREE, "bar_yess")
    with pytest.raises(ConfigError, match=r"no class is called 'x'.*\['round', 'edge-on'\]"):
        find_answers(ClassificationTask(class_names=("round", "edge-on")), "x")
    with pytest.raises(ConfigError, match="which target"):
        find_answers(RegressionTask(num_targets=2, label_cols=("T", "size")))
