"""The losses of every engine, against NumPy and SciPy: values and gradients.

Tolerances: the Dirichlet-multinomial is summed in float64 whatever comes in, so float32 concentrations lose
only the rounding of the result (6e-8 of it), at 40 votes and at 5,000.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from zoobot.shared import likelihood, schemas
from zoobot.shared.errors import ConfigError, LabelError, SchemaError

SLICES = [slice(0, 3), slice(3, 5), slice(5, 6), slice(6, 12)]
CHANGES = np.array([[1.0, -2.0, 0.5, 3.0]])  # makes the gradient of a sum over questions tell them apart


def draw(rng, most_votes, *, galaxies=40, whole=True, dtype="float64"):
    """Concentrations and votes where some questions have votes only for some answers, and some have none."""
    concentrations = rng.uniform(1, 101, (galaxies, 12)).astype(dtype)
    votes = rng.uniform(0, most_votes, (galaxies, 12)) * (rng.random((galaxies, 12)) < 0.7)
    votes = np.round(votes) if whole else votes
    for part in SLICES:
        votes[rng.random(galaxies) < 0.3, part] = 0
    return concentrations, votes.astype(dtype)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("dtype", "most_votes", "tolerance"),
    [("float64", 40, 1e-10), ("float64", 5000, 1e-8), ("float32", 40, 1e-9), ("float32", 5000, 1e-8)],
)
def test_nll_and_its_gradient_match_the_reference(
    engine, to_tensor, to_numpy, gradient, dtype, most_votes, whole, tolerance
):
    concentrations, votes = draw(np.random.default_rng(1), most_votes, whole=whole, dtype=dtype)
    nll = engine.losses.dirichlet_multinomial_nll
    got = to_numpy(nll(to_tensor(concentrations), to_tensor(votes), SLICES))
    want = likelihood.dirichlet_multinomial_nll(concentrations, votes, SLICES)
    assert got.dtype == dtype
    assert got.shape == want.shape == (40, 4)
    assert want.max() > 5
    rounding = 1e-7 if dtype == "float32" else 0
    np.testing.assert_allclose(got, want, rtol=rounding, atol=tolerance)

    got = gradient(lambda x: nll(x, to_tensor(votes), SLICES), concentrations)
    want = likelihood.dirichlet_multinomial_nll_gradient(concentrations, votes, SLICES)
    np.testing.assert_allclose(got, want, rtol=rounding, atol=1e-10)


def test_nll_matches_scipy(engine, to_tensor, to_numpy):
    concentrations, votes = draw(np.random.default_rng(2), 30)
    got = to_numpy(
        engine.losses.dirichlet_multinomial_nll(to_tensor(concentrations), to_tensor(votes), SLICES)
    )
    for question, part in enumerate(SLICES):
        counts = votes[:, part].astype(int)
        want = -stats.dirichlet_multinomial(concentrations[:, part], counts.sum(axis=1)).logpmf(counts)
        np.testing.assert_allclose(got[:, question], want, rtol=0, atol=1e-10)


def test_gradient_weighs_each_question_by_what_follows_the_loss(engine, to_tensor, to_numpy, gradient):
    concentrations, votes = draw(np.random.default_rng(3), 20, galaxies=3)

    def weighted(x):
        nll = engine.losses.dirichlet_multinomial_nll(x, to_tensor(votes), SLICES)
        return nll * to_tensor(CHANGES)

    got = gradient(weighted, concentrations)
    step = 1e-5
    for answer in range(concentrations.shape[1]):
        moved = np.zeros_like(concentrations)
        moved[:, answer] = step
        rise = to_numpy(
            weighted(to_tensor(concentrations + moved)) - weighted(to_tensor(concentrations - moved))
        )
        np.testing.assert_allclose(got[:, answer], rise.sum(axis=1) / (2 * step), atol=1e-7)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("not_asked", [0.0, np.nan])
def test_a_question_nobody_was_asked_is_exactly_zero(engine, to_tensor, to_numpy, gradient, dtype, not_asked):
    concentrations, votes = draw(np.random.default_rng(4), 40, dtype=dtype)
    votes[:, 3:5] = not_asked
    votes[7] = not_asked
    nll = engine.losses.dirichlet_multinomial_nll
    got = to_numpy(nll(to_tensor(concentrations), to_tensor(votes), SLICES))
    slope = gradient(lambda x: nll(x, to_tensor(votes), SLICES), concentrations)
    assert np.all(got[:, 1] == 0)
    assert np.all(got[7] == 0)
    assert np.all(slope[:, 3:5] == 0)
    assert np.all(slope[7] == 0)
    assert np.count_nonzero(got) > 50
    assert np.isfinite(slope).all()


def test_a_question_with_one_answer_is_exactly_zero(engine, to_tensor, to_numpy, gradient):
    concentrations, votes = draw(np.random.default_rng(5), 4000, whole=False)
    assert np.count_nonzero(votes[:, 5]) > 10
    nll = engine.losses.dirichlet_multinomial_nll
    assert np.all(to_numpy(nll(to_tensor(concentrations), to_tensor(votes), SLICES))[:, 2] == 0)
    assert np.all(gradient(lambda x: nll(x, to_tensor(votes), SLICES), concentrations)[:, 5] == 0)


def test_nobody_voted_at_all(engine, to_tensor, to_numpy, gradient):
    nll, votes = engine.losses.dirichlet_multinomial_nll, to_tensor(np.zeros((2, 12)))
    assert np.all(to_numpy(nll(to_tensor(np.ones((2, 12))), votes, SLICES)) == 0)
    assert np.all(gradient(lambda x: nll(x, votes, SLICES), np.ones((2, 12))) == 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [np.inf, np.nan])
def test_a_broken_concentration_spoils_its_galaxys_loss_alone(engine, to_tensor, to_numpy, gradient, broken):
    concentrations, votes = draw(np.random.default_rng(8), 40)
    votes[3, :3] = 1, 2, 3
    concentrations[3, 1] = broken
    nll = engine.losses.dirichlet_multinomial_nll
    got = to_numpy(nll(to_tensor(concentrations), to_tensor(votes), SLICES))
    slope = gradient(lambda x: nll(x, to_tensor(votes), SLICES), concentrations)
    assert not np.isfinite(got[3, 0])
    assert np.isfinite(np.delete(got, 3, axis=0)).all()
    assert np.isfinite(np.delete(slope, 3, axis=0)).all()


def test_batch_size_does_not_change_a_galaxys_loss(engine, to_tensor, to_numpy):
    """Tables are kept between calls, by batch size: a wrong one must not be found."""
    concentrations, votes = draw(np.random.default_rng(6), 40)
    nll = engine.losses.dirichlet_multinomial_nll
    together = to_numpy(nll(to_tensor(concentrations), to_tensor(votes), SLICES))
    for size in (1, 7, 3):
        alone = to_numpy(nll(to_tensor(concentrations[:size]), to_tensor(votes[:size]), SLICES))
        np.testing.assert_allclose(alone, together[:size], rtol=1e-13, atol=1e-12)
    coarser = [slice(0, 5), slice(5, 12)]
    got = to_numpy(nll(to_tensor(concentrations), to_tensor(votes), coarser))
    want = likelihood.dirichlet_multinomial_nll(concentrations, votes, coarser)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def test_nll_of_a_survey_with_many_campaigns(engine, to_tensor, to_numpy):
    schema = schemas.get("gz_evo_v1")
    rng = np.random.default_rng(7)
    concentrations = rng.uniform(1, 101, (16, len(schema.label_cols))).astype("float32")
    votes = np.zeros_like(concentrations)
    for part in schema.question_slices[:10]:
        votes[:, part] = rng.integers(0, 12, votes[:, part].shape)
    slices = schema.question_slices
    got = to_numpy(
        engine.losses.dirichlet_multinomial_nll(to_tensor(concentrations), to_tensor(votes), slices)
    )
    want = likelihood.dirichlet_multinomial_nll(concentrations, votes, slices)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    assert np.all(got[:, 10:] == 0)


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ([slice(0, 2), slice(3, 12)], "without gap"),
        ([slice(0, 3), slice(2, 12)], "overlap"),
        ([slice(0, 12, 2)], "without gap"),
        ([], "at least one question"),
    ],
)
def test_slices_that_do_not_tile_the_answers(engine, to_tensor, slices, words):
    table = to_tensor(np.ones((2, 12)))
    with pytest.raises(SchemaError, match=words):
        engine.losses.dirichlet_multinomial_nll(table, table, slices)


@pytest.mark.parametrize(
    "shapes", [((2, 12), (2, 11)), ((2, 13), (2, 13)), ((2, 12), (12,)), ((1, 12), (2, 12))]
)
def test_tables_that_do_not_fit_each_other(engine, to_tensor, shapes):
    concentrations, votes = (to_tensor(np.ones(shape)) for shape in shapes)
    with pytest.raises(LabelError, match=r"one shape \(batch, 12 answers\)"):
        engine.losses.dirichlet_multinomial_nll(concentrations, votes, SLICES)


# -- classes -----------------------------------------------------------------------------------------------


def classification_oracle(logits, labels, *, label_smoothing=0.0, class_weights=None, gamma=0.0):
    log_p = special.log_softmax(logits, axis=1)
    num_classes = logits.shape[1]
    targets = (1 - label_smoothing) * np.eye(num_classes)[labels] + label_smoothing / num_classes
    weights = np.ones(num_classes) if class_weights is None else np.asarray(class_weights)
    return -(weights * targets * (1 - np.exp(log_p)) ** gamma * log_p).sum(axis=1)


CLASSES = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.2},
    "weighted": {"class_weights": [0.5, 1.0, 4.0]},
    "all": {"label_smoothing": 0.1, "class_weights": (2.0, 1.0, 0.1)},
}


@pytest.mark.parametrize("options", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("gamma", [None, 0.0, 0.5, 2.0])
def test_classification_loss_and_gradient(engine, to_tensor, to_numpy, gradient, options, gamma):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (20, 3)), rng.integers(0, 3, 20)
    chosen = options if gamma is None else {**options, "kind": "focal", "focal_gamma": gamma}

    def loss(x):
        return engine.losses.classification_loss(x, to_tensor(labels), **chosen)

    want = classification_oracle(logits, labels, **options, gamma=gamma or 0.0)
    got = to_numpy(loss(to_tensor(logits)))
    assert got.shape == (20,)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    assert_is_slope(gradient(loss, logits), lambda x: to_numpy(loss(to_tensor(x))), logits)


def test_cross_entropy_matches_scikit_learn(engine, to_tensor, to_numpy):
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 2, (50, 4)), rng.integers(0, 4, 50)
    got = to_numpy(engine.losses.classification_loss(to_tensor(logits), to_tensor(labels))).mean()
    assert got == pytest.approx(log_loss(labels, special.softmax(logits, axis=1), labels=range(4)), rel=1e-12)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_certain_logits_keep_loss_and_gradient_finite(engine, to_tensor, to_numpy, gradient, kind, dtype):
    logits, labels = np.array([[1e4, -1e4], [-1e4, 1e4], [90.0, 0.0]], dtype=dtype), np.array([0, 0, 0])
    options = {"kind": kind, "focal_gamma": 0.5, "label_smoothing": 0.1}

    def classes(x):
        return engine.losses.classification_loss(x, to_tensor(labels), **options)

    def yes_or_no(x):
        return engine.losses.multilabel_loss(x, to_tensor(np.ones((3, 2), dtype)), **options)

    for loss in (classes, yes_or_no):
        assert np.isfinite(to_numpy(loss(to_tensor(logits)))).all()
        assert np.isfinite(gradient(loss, logits)).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "hinge"}, "must be one of .*'cross_entropy', 'focal'.*got 'hinge'"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"label_smoothing": float("nan")}, "label_smoothing"),
        ({"kind": "focal", "focal_gamma": -1.0}, "focal_gamma must be finite and not negative, got -1.0"),
        ({"class_weights": [1.0, 2.0]}, r"one number for each of 3 classes, got shape \(2,\)"),
        ({"class_weights": [1.0, 2.0, 0.0]}, "finite numbers above 0"),
        ({"class_weights": [1.0, 2.0, float("nan")]}, "finite numbers above 0"),
    ],
)
def test_options_of_classes_that_can_not_work(engine, to_tensor, options, words):
    logits = to_tensor(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match=words):
        engine.losses.classification_loss(logits, to_tensor(np.array([0, 1])), **options)
    with pytest.raises(ConfigError, match=words):
        engine.losses.multilabel_loss(logits, logits, **options)


def test_class_weights_may_be_a_tensor(engine, to_tensor, to_numpy):
    logits, labels = to_tensor(np.eye(3)), to_tensor(np.arange(3))
    loss = engine.losses.classification_loss
    as_numbers = loss(logits, labels, class_weights=[1.0, 2.0, 3.0])
    as_tensor = loss(logits, labels, class_weights=to_tensor(np.array([1.0, 2.0, 3.0])))
    np.testing.assert_array_equal(to_numpy(as_tensor), to_numpy(as_numbers))
    with pytest.raises(ConfigError, match="3 classes"):
        loss(logits, labels, class_weights=to_tensor(np.ones(4)))


def test_class_labels_must_be_one_integer_for_each_galaxy(engine, to_tensor):
    logits = to_tensor(np.zeros((2, 3)))
    with pytest.raises(LabelError, match="integer type"):
        engine.losses.classification_loss(logits, to_tensor(np.array([0.0, 1.5])))
    with pytest.raises(LabelError, match=r"got shapes \(2, 3\) and \(2, 1\)"):
        engine.losses.classification_loss(logits, to_tensor(np.array([[0], [1]])))


# -- yes/no labels -----------------------------------------------------------------------------------------


def multilabel_oracle(logits, labels, *, label_smoothing=0.0, class_weights=None, gamma=0.0):
    yes = special.expit(logits)
    targets = (1 - label_smoothing) * labels + label_smoothing / 2
    weights = np.ones(logits.shape[1]) if class_weights is None else np.asarray(class_weights)
    loss = -weights * targets * (1 - yes) ** gamma * np.log(yes)
    loss -= (1 - targets) * yes**gamma * np.log1p(-yes)
    return np.where(np.isnan(labels), 0.0, loss)


@pytest.mark.parametrize("options", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("gamma", [None, 0.0, 0.5, 2.0])
def test_multilabel_loss_and_gradient(engine, to_tensor, to_numpy, gradient, options, gamma):
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(0, 2, (20, 3)), rng.integers(0, 2, (20, 3)).astype(float)
    labels[rng.random((20, 3)) < 0.3] = np.nan
    chosen = options if gamma is None else {**options, "kind": "focal", "focal_gamma": gamma}

    def loss(x):
        return engine.losses.multilabel_loss(x, to_tensor(labels), **chosen)

    got = to_numpy(loss(to_tensor(logits)))
    np.testing.assert_allclose(
        got, multilabel_oracle(logits, labels, **options, gamma=gamma or 0.0), rtol=1e-10, atol=1e-12
    )
    slope = gradient(loss, logits)
    assert np.all(got[np.isnan(labels)] == 0)
    assert np.all(slope[np.isnan(labels)] == 0)
    assert_is_slope(slope, lambda x: to_numpy(loss(to_tensor(x))), logits)


# -- numbers -----------------------------------------------------------------------------------------------

REGRESSION = {
    "mse": np.square,
    "mae": np.abs,
    "huber": lambda error: special.huber(0.7, error),
}


@pytest.mark.parametrize("kind", REGRESSION)
def test_regression_loss_and_gradient(engine, to_tensor, to_numpy, gradient, kind):
    rng = np.random.default_rng(4)
    predictions, targets = rng.normal(0, 1, (30, 2)), rng.normal(0, 1, (30, 2))
    targets[rng.random((30, 2)) < 0.3] = np.nan
    missing = np.isnan(targets)

    def loss(x):
        return engine.losses.regression_loss(x, to_tensor(targets), kind=kind, huber_delta=0.7)

    got, slope = to_numpy(loss(to_tensor(predictions))), gradient(loss, predictions)
    np.testing.assert_allclose(got[~missing], REGRESSION[kind](predictions - targets)[~missing], rtol=1e-12)
    assert missing.sum() > 5
    assert np.all(got[missing] == 0)
    assert np.all(slope[missing] == 0)
    assert_is_slope(slope, lambda x: to_numpy(loss(to_tensor(x))), predictions)


def test_regression_options_and_shapes_that_can_not_work(engine, to_tensor):
    table = to_tensor(np.zeros((2, 3)))
    loss = engine.losses.regression_loss
    with pytest.raises(ConfigError, match=r"must be one of .*'mse', 'mae', 'huber'.*got 'rmse'"):
        loss(table, table, kind="rmse")
    with pytest.raises(ConfigError, match="huber_delta must be finite and above 0, got 0"):
        loss(table, table, kind="huber", huber_delta=0)
    with pytest.raises(LabelError, match=r"got \(2, 3\) and \(2, 1\)"):
        loss(table, to_tensor(np.zeros((2, 1))))
    with pytest.raises(LabelError, match=r"got \(2, 3\) and \(2, 1\)"):
        engine.losses.multilabel_loss(table, to_tensor(np.zeros((2, 1))))


def assert_is_slope(slope, function, at, *, step=1e-6):
    """Central differences, along one random direction for each row."""
    direction = np.random.default_rng(9).normal(size=at.shape)
    rise = function(at + step * direction) - function(at - step * direction)
    rise = rise.reshape(len(at), -1).sum(axis=1) / (2 * step)
    np.testing.assert_allclose((slope * direction).sum(axis=1), rise, rtol=1e-5, atol=1e-7)
