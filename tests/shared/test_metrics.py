"""Scores against scikit-learn and hand-computed values; undefined ones are NaN, without a word."""

import json
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from zoobot.shared.errors import LabelError, NonFiniteError, SchemaError
from zoobot.shared.metrics import confusion_matrix, ranking_metrics
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks.classification import classification_metrics
from zoobot.shared.tasks.multi_label import multilabel_metrics
from zoobot.shared.tasks.regression import regression_metrics
from zoobot.shared.tasks.tree import tree_metrics

BOTH_SHAPES = r"got the shapes"


@pytest.fixture(autouse=True)
def silence():
    """Any warning, of ours or of a package beneath, fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def make_classifier(rng, classes, n=300):
    labels = rng.integers(classes, size=n)
    scores = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_equals_scikit_learn(rng, classes):
    probabilities, labels = make_classifier(rng, classes)
    names = [f"class {k}" for k in range(classes)]
    scores = classification_metrics(probabilities, labels, names)
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(classes)[labels]
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, average="macro"),
        "log_loss": sk.log_loss(labels, probabilities),
        "n": 300,
    }
    if classes == 2:
        expected["average_precision"] = sk.average_precision_score(labels, probabilities[:, 1])
        expected["roc_auc"] = sk.roc_auc_score(labels, probabilities[:, 1])
        expected["purity_at_90_completeness"] = scores["purity_at_90_completeness_class 1"]
    else:
        expected["average_precision"] = sk.average_precision_score(one_hot, probabilities, average="macro")
        expected["roc_auc"] = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, predicted)
    for k, name in enumerate(names):
        expected |= {f"precision_{name}": precision[k], f"recall_{name}": recall[k], f"f1_{name}": f1[k]}
        expected |= {f"n_{name}": n[k]}
        expected[f"roc_auc_{name}"] = sk.roc_auc_score(one_hot[:, k], probabilities[:, k])
        expected[f"average_precision_{name}"] = sk.average_precision_score(one_hot[:, k], probabilities[:, k])
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(
        confusion_matrix(probabilities, labels), sk.confusion_matrix(labels, predicted)
    )


def test_classification_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    scores = classification_metrics(probabilities, np.array([0, 0, 1, 1]), ["not", "ring"])
    assert scores["accuracy"] == 0.5
    assert scores["recall_ring"] == scores["precision_not"] == 0.5
    assert scores["log_loss"] == pytest.approx(-np.log([0.9, 0.2, 0.6, 0.3]).mean())
    assert scores["roc_auc"] == 0.5  # of four pairs, (0.6, 0.1) and (0.3, 0.1) are in order
    assert scores["purity_at_90_completeness_ring"] == pytest.approx(2 / 3)


def test_a_class_that_does_not_occur_is_nan_and_left_out_of_means():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
    scores = classification_metrics(probabilities, np.array([0, 1, 0]), ["a", "b", "c"])
    for metric in ("recall", "precision", "f1", "average_precision", "roc_auc", "purity_at_90_completeness"):
        assert np.isnan(scores[f"{metric}_c"])
        assert np.isfinite(scores[f"{metric}_a"])
    assert scores["n_c"] == 0
    assert scores["balanced_accuracy"] == 0.75
    assert scores["f1_macro"] == pytest.approx(
        sk.f1_score([0, 1, 0], probabilities.argmax(axis=1), average="macro", labels=[0, 1])
    )


@pytest.mark.parametrize("galaxies", [0, 1])
def test_no_galaxy_or_one_galaxy_is_no_crash(galaxies):
    scores = classification_metrics(np.full((galaxies, 2), 0.5), np.zeros(galaxies, dtype=int))
    assert scores["n"] == galaxies
    assert np.isnan(scores["roc_auc"])
    assert scores["accuracy"] == 1 if galaxies else np.isnan(scores["accuracy"])
    scores = multilabel_metrics(np.full((galaxies, 2), 0.5), np.zeros((galaxies, 2)))
    assert np.isnan(scores["average_precision_0"])
    scores = regression_metrics(np.zeros((galaxies, 2)), np.ones((galaxies, 2)))
    assert np.isnan(scores["r2"])
    assert scores["rmse"] == 1 if galaxies else np.isnan(scores["rmse"])


def test_a_probability_of_zero_gives_a_large_finite_loss():
    assert 100 < classification_metrics(np.array([[1.0, 0.0]]), np.array([1]))["log_loss"] < 1000


@pytest.mark.parametrize(
    ("probabilities", "labels", "error", "words"),
    [
        (np.ones((2, 2)), np.array([0, 2]), LabelError, r"whole numbers from 0 to 1, got 2"),
        (np.ones((2, 2)), np.array([0, -1]), LabelError, r"got -1"),
        (np.ones((2, 2)), np.array([0, 0.5]), LabelError, r"got 0\.5"),
        (np.ones((2, 2)), np.array([0, np.nan]), LabelError, r"got nan"),
        (np.ones((2, 2)), np.array([0]), LabelError, BOTH_SHAPES),
        (np.ones(2), np.array([0, 1]), LabelError, BOTH_SHAPES),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), np.array([0, 1]), NonFiniteError, r"1 rows are not; .*\[1\]"),
    ],
)
def test_bad_classification_input_is_refused(probabilities, labels, error, words):
    for function in (classification_metrics, confusion_matrix):
        with pytest.raises(error, match=words):
            function(probabilities, labels)


def test_wrong_number_of_names_is_refused():
    for function, labels in ((classification_metrics, np.zeros(2)), (regression_metrics, np.zeros((2, 2)))):
        with pytest.raises(LabelError, match=r"expected 2 names, got \['a'\]"):
            function(np.zeros((2, 2)), labels, ["a"])


def test_purity_at_completeness_equals_a_search_over_all_thresholds(rng):
    for _ in range(20):
        scores = rng.integers(8, size=40) / 8  # with ties
        positive = rng.random(40) < 0.4
        samples = [scores >= threshold for threshold in np.unique(scores)]
        pure = [positive[s].mean() for s in samples if positive[s].sum() >= 0.9 * positive.sum()]
        found = ranking_metrics(scores, positive)["purity_at_90_completeness"]
        assert found == pytest.approx(max(pure))
    assert np.isnan(ranking_metrics(scores, np.zeros(40))["purity_at_90_completeness"])


def test_a_perfect_ranking_scores_one():
    scores = ranking_metrics(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    assert scores == {"average_precision": 1, "roc_auc": 1, "purity_at_90_completeness": 1}
    everything = ranking_metrics(np.array([0.1, 0.2]), np.array([1, 1]))
    assert everything["average_precision"] == 1
    assert np.isnan(everything["roc_auc"])


def test_multilabel_equals_scikit_learn_on_what_is_known(rng):
    labels = (rng.random((200, 3)) < 0.3).astype(float)
    probabilities = np.clip(0.5 * labels + rng.random((200, 3)) * 0.6, 0, 1)
    labels[rng.random((200, 3)) < 0.2] = np.nan
    names = ["bar", "ring", "shell"]
    scores = multilabel_metrics(probabilities, labels, names)
    rows = []
    for k, name in enumerate(names):
        known = ~np.isnan(labels[:, k])
        truth, guess = labels[known, k], probabilities[known, k]
        row = {
            "accuracy": sk.accuracy_score(truth, guess > 0.5),
            "f1": sk.f1_score(truth, guess > 0.5),
            "n": known.sum(),
            "average_precision": sk.average_precision_score(truth, guess),
            "roc_auc": sk.roc_auc_score(truth, guess),
        }
        rows.append(row)
        assert {f"{m}_{name}": scores[f"{m}_{name}"] for m in row} == pytest.approx(
            {f"{m}_{name}": value for m, value in row.items()}
        )
    assert scores["roc_auc"] == pytest.approx(np.mean([row["roc_auc"] for row in rows]))
    assert scores["f1_macro"] == pytest.approx(np.mean([row["f1"] for row in rows]))


def test_multilabel_refuses_other_numbers_and_survives_a_label_nobody_has():
    with pytest.raises(LabelError, match=r"must be 1, 0 or NaN, got 2\.0"):
        multilabel_metrics(np.full((1, 2), 0.5), np.array([[1, 2]]))
    scores = multilabel_metrics(np.full((2, 2), 0.7), np.array([[1, np.nan], [1, np.nan]]), ["a", "b"])
    assert scores["accuracy"] == scores["accuracy_a"] == 1
    assert np.isnan(scores["accuracy_b"])
    assert scores["n_b"] == 0


def test_regression_equals_scikit_learn_on_what_is_known(rng):
    targets = rng.normal(size=(100, 2))
    predictions = targets + rng.normal(size=(100, 2))
    targets[::3, 1] = np.nan
    scores = regression_metrics(predictions, targets, ["T", "B/T"])
    known = ~np.isnan(targets[:, 1])
    pair = targets[known, 1], predictions[known, 1]
    assert scores["rmse_B/T"] == pytest.approx(sk.root_mean_squared_error(*pair))
    assert scores["mae_B/T"] == pytest.approx(sk.mean_absolute_error(*pair))
    assert scores["r2_B/T"] == pytest.approx(sk.r2_score(*pair))
    assert scores["n_B/T"] == 66
    assert scores["r2"] == pytest.approx((scores["r2_T"] + scores["r2_B/T"]) / 2)


def test_r2_of_a_target_that_does_not_vary_is_undefined():
    scores = regression_metrics(np.array([[1.0, 1.0], [2.0, 3.0]]), np.array([[5.0, 1.0], [5.0, 3.0]]))
    assert np.isnan(scores["r2_0"])
    assert scores["r2_1"] == scores["r2"] == 1
    assert scores["rmse_0"] == pytest.approx(np.sqrt((16 + 9) / 2))


def test_bad_regression_input_is_refused():
    with pytest.raises(LabelError, match=BOTH_SHAPES):
        regression_metrics(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(LabelError, match=r"targets must be finite or NaN"):
        regression_metrics(np.zeros((1, 1)), np.array([[np.inf]]))
    with pytest.raises(NonFiniteError, match=r"1 rows are not; the first: \[2\]"):
        regression_metrics(np.array([[0.0], [0.0], [np.inf]]), np.zeros((3, 1)))


@pytest.fixture
def schema():
    return Schema.from_pairs(
        {"smooth": ["_yes", "_no", "_artifact"], "bar": ["_yes", "_no"]}, {"smooth": None, "bar": "smooth_no"}
    )


def test_tree_by_hand(schema):
    concentrations = np.array([[6.0, 2, 2, 1, 3], [1, 8, 1, 4, 1], [1, 1, 2, 1, 1]])
    votes = np.array([[9.0, 1, 0, np.nan, np.nan], [4, 6, 0, 5, 1], [0, 0, 0, 0, 0]])
    scores = tree_metrics(concentrations, votes, schema)
    dirichlet = stats.dirichlet_multinomial
    smooth = [
        -dirichlet.logpmf([9, 1, 0], concentrations[0, :3], 10),
        -dirichlet.logpmf([4, 6, 0], concentrations[1, :3], 10),
    ]
    bar = -dirichlet.logpmf([5, 1], concentrations[1, 3:], 6)
    smooth_errors = np.array([0.6 - 0.9, 0.2 - 0.1, 0.2, 0.1 - 0.4, 0.8 - 0.6, 0.1])
    bar_errors = np.array([4 / 5 - 5 / 6, 1 / 5 - 1 / 6])
    expected = {
        "n": 3,
        "nll": (sum(smooth) + bar) / 3,
        "nll_smooth": np.mean(smooth),
        "nll_bar": bar,
        "fraction_rmse_smooth": np.sqrt(np.mean(smooth_errors**2)),
        "fraction_rmse_bar": np.sqrt(np.mean(bar_errors**2)),
        "fraction_rmse": np.sqrt(np.mean(np.concatenate([smooth_errors, bar_errors]) ** 2)),
        "accuracy_smooth": 1,
        "accuracy_bar": 1,
        "accuracy": 1,
        "accuracy_confident_smooth": 1,
        "accuracy_confident_bar": 1,
        "accuracy_confident": 1,
        "n_smooth": 2,
        "n_bar": 1,
        "n_confident_smooth": 1,
        "n_confident_bar": 1,
    }
    assert scores == pytest.approx(expected, rel=1e-10)


def test_tree_accuracy_counts_wrong_answers_and_forgives_ties(schema):
    concentrations = np.array([[9.0, 1, 1, 9, 1], [9, 1, 1, 9, 1], [1, 1, 9, 9, 1]])
    votes = np.array([[5.0, 5, 0, 9, 1], [1, 9, 0, 1, 9], [1, 9, 0, 4, 5]])
    scores = tree_metrics(concentrations, votes, schema)
    assert scores["accuracy_smooth"] == pytest.approx(1 / 3)
    assert scores["accuracy_confident_smooth"] == 0
    assert scores["n_confident_smooth"] == 2
    assert scores["accuracy_bar"] == pytest.approx(1 / 3)
    assert scores["accuracy_confident_bar"] == 0.5
    assert scores["accuracy_confident"] == 0.25


def test_confident_means_more_than_eighty_percent(schema):
    votes = np.array([[8.0, 2, 0, 0, 0], [81, 19, 0, 0, 0]])
    assert tree_metrics(np.ones((2, 5)), votes, schema)["n_confident_smooth"] == 1


def test_a_question_nobody_was_asked_is_nan(schema):
    votes = np.array([[1.0, 2, 3, np.nan, np.nan]])
    scores = tree_metrics(np.ones((1, 5)), votes, schema)
    for metric in ("nll", "fraction_rmse", "accuracy", "accuracy_confident"):
        assert np.isnan(scores[f"{metric}_bar"])
    assert scores["accuracy"] == scores["accuracy_smooth"] == 0
    assert scores["nll"] == scores["nll_smooth"]
    nothing = tree_metrics(np.ones((0, 5)), np.ones((0, 5)), schema)
    assert {name for name, value in nothing.items() if not np.isnan(value)} == {
        name for name in nothing if name == "n" or name.startswith("n_")
    }


def test_bad_tree_input_is_refused(schema):
    with pytest.raises(LabelError, match=r"has 5 answers, got 4 columns"):
        tree_metrics(np.ones((1, 4)), np.ones((1, 4)), schema)
    with pytest.raises(LabelError, match=BOTH_SHAPES):
        tree_metrics(np.ones((1, 5)), np.ones((2, 5)), schema)
    with pytest.raises(NonFiniteError, match=r"finite and positive, but 1 rows are not; the first: \[0\]"):
        tree_metrics(np.array([[1.0, 1, 0, 1, 1]]), np.ones((1, 5)), schema)
    with pytest.raises((LabelError, SchemaError), match=r"negative|0 or more|-1"):
        tree_metrics(np.ones((1, 5)), np.array([[-1.0, 1, 0, 1, 1]]), schema)


def test_bundles_hold_plain_floats_for_json(rng, schema):
    probabilities, labels = make_classifier(rng, 3)
    bundles = [
        classification_metrics(probabilities, labels),
        multilabel_metrics(probabilities, (probabilities > 0.3).astype(float)),
        regression_metrics(probabilities, probabilities),
        tree_metrics(np.ones((2, 5)), np.ones((2, 5)), schema),
    ]
    for bundle in bundles:
        assert {type(value) for value in bundle.values()} == {float}
        assert json.loads(json.dumps(bundle)).keys() == bundle.keys()
