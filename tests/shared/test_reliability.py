"""Reliability curves, their error, and the tables of each question, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from zoobot.certainty.coverage import expected_calibration_error, reliability_curve, reliability_curves
from zoobot.certainty.tree_scores import question_confusions, question_table
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, tree_task
from zoobot.shared.tasks.tree import tree_metrics

SCHEMA = Schema.from_pairs(
    {"shape": ["smooth", "featured", "artifact"], "ring": ["yes", "no"]}, {"ring": "shape_featured"}
)
RNG = np.random.default_rng(0)


def test_predictions_that_come_true_lie_on_the_diagonal():
    predicted = RNG.random(200_000)
    curve = reliability_curve(predicted, RNG.random(200_000) < predicted)
    assert curve["n"].sum() == 200_000
    np.testing.assert_allclose(curve["predicted"], curve["observed"], atol=0.02)
    assert expected_calibration_error(curve) < 0.005


def test_the_error_is_the_mean_distance_from_the_diagonal():
    curve = reliability_curve([0.05, 0.05, 0.95, 1.0], [1, 0, 1, 1])
    assert curve["n"].tolist() == [2, 2]
    assert expected_calibration_error(curve) == pytest.approx((0.45 + 0.025) / 2)
    assert np.isnan(expected_calibration_error(reliability_curve([], [])))


def test_each_task_has_its_curves():
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    classes = ClassificationTask(class_names=("a", "b"), label_cols=("kind",))
    (curve,) = reliability_curves(classes, probabilities, np.array([[0], [0], [0]]), bins=5).values()
    assert curve["n"].tolist() == [2, 1]  # 0.6 and 0.7, then 0.9
    assert curve["observed"].tolist() == [0.5, 1.0]
    labels = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    curves = reliability_curves(labels, probabilities, np.array([[1, np.nan], [0, 1], [1, 0]]))
    assert [int(c["n"].sum()) for c in curves.values()] == [3, 2]
    votes = np.array([[8.0, 2, 0, 1, 1], [0, 10, 0, np.nan, np.nan]])
    alpha = np.array([[9.0, 3, 1, 2, 2], [1.0, 11, 1, 5, 5]])
    curves = reliability_curves(tree_task(SCHEMA), alpha, votes)
    assert list(curves) == ["shape", "ring"]
    assert int(curves["shape"]["n"].sum()) == 6
    assert curves["ring"].to_numpy().tolist() == [[0.5, 0.5, 2]]
    assert reliability_curves(RegressionTask(), alpha, votes) == {}


def test_bad_curves_are_refused():
    with pytest.raises(LabelError, match=r"lie in \[0, 1\], got 1.5"):
        reliability_curve([1.5], [1])
    with pytest.raises(LabelError, match="shapes"):
        reliability_curve([0.5], [1, 0])
    with pytest.raises(ConfigError, match="bins"):
        reliability_curve([0.5], [1], bins=0)


@pytest.mark.parametrize("confident", [False, True])
def test_question_scores_are_those_of_scikit_learn(confident):
    alpha = 1 + 20 * RNG.random((300, 5))
    fractions = RNG.dirichlet([0.4, 0.4, 0.2], 300)
    votes = np.concatenate([np.round(40 * fractions), np.round(10 * RNG.random((300, 2)))], axis=1)
    votes[:50, 3:] = np.nan
    table = question_table(alpha, votes, SCHEMA, confident=confident).set_index("question")
    scores = tree_metrics(alpha, votes, SCHEMA)
    for question in SCHEMA.questions:
        given = np.nan_to_num(votes[:, question.slice])
        rows = given.max(axis=1) > (0.8 if confident else 0) * given.sum(axis=1)
        guess = alpha[rows, question.slice].argmax(axis=1)
        tied = given[rows, guess] == given[rows].max(axis=1)  # a tie is settled for the model
        truth = np.where(tied, guess, given[rows].argmax(axis=1))
        row = table.loc[question.text]
        assert row["accuracy"] == pytest.approx(
            scores[f"accuracy{'_confident' if confident else ''}_{question.text}"]
        )
        assert row["n"] == rows.sum()
        assert row["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, guess))
        expected = sklearn_metrics.precision_recall_fscore_support(
            truth, guess, average="weighted", zero_division=0
        )
        np.testing.assert_allclose(row[["precision", "recall", "f1"]].astype(float), expected[:3])


def test_a_question_nobody_was_asked_has_no_scores():
    votes = np.array([[1.0, 2, 3, np.nan, np.nan]])
    table = question_table(np.ones((1, 5)), votes, SCHEMA)
    assert table["n"].tolist() == [1, 0]
    assert np.isnan(table["f1"][1])
    assert question_confusions(np.ones((1, 5)), votes, SCHEMA)[1].tolist() == [[0, 0], [0, 0]]
