"""Equal mixtures of samples: their predictions, and their scores against sums by hand."""

import numpy as np
import pytest
from scipy import stats

from zoobot.shared.errors import LabelError, NonFiniteError
from zoobot.shared.likelihood import dirichlet_multinomial_nll, mixture_nll
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import RegressionTask, TreeTask

SCHEMA = Schema.from_pairs({"shape": ["round", "long"], "bar": ["yes", "no", "weak"]}, {"bar": "shape_round"})
TASK = TreeTask(schema=SCHEMA)
RNG = np.random.default_rng(0)
ALPHA = RNG.uniform(1, 30, (3, 6, 5))
VOTES = np.concatenate(
    [RNG.multinomial(20, [0.6, 0.4], 6), RNG.multinomial(9, [0.3, 0.3, 0.4], 6)], axis=1
).astype(float)
VOTES[0, 2:] = np.nan


def test_the_likelihood_of_a_mixture_is_the_mean_of_its_samples():
    found = mixture_nll(ALPHA, VOTES, SCHEMA.question_slices)
    for galaxy in range(6):
        for place, part in enumerate(SCHEMA.question_slices):
            votes = VOTES[galaxy, part]
            if np.isnan(votes).any():
                assert found[galaxy, place] == pytest.approx(0)
                continue
            each = [
                stats.dirichlet_multinomial.pmf(votes.astype(int), alpha[galaxy, part], int(votes.sum()))
                for alpha in ALPHA
            ]
            assert found[galaxy, place] == pytest.approx(-np.log(np.mean(each)))
    one = mixture_nll(ALPHA[:1], VOTES, SCHEMA.question_slices)
    np.testing.assert_allclose(one, dirichlet_multinomial_nll(ALPHA[0], VOTES, SCHEMA.question_slices))


def test_a_tree_keeps_its_samples_and_other_tasks_their_mean():
    assert TASK.mix(ALPHA) is ALPHA
    np.testing.assert_array_equal(TASK.mix(ALPHA[:1]), ALPHA[0])
    targets = RegressionTask(label_cols=("T",))
    np.testing.assert_allclose(targets.mix(ALPHA[..., :1]), ALPHA[..., :1].mean(axis=0))
    fractions = TASK.expect(TASK.mix(ALPHA))
    shares = np.mean([a[:, 2] / a[:, 2:].sum(axis=1) for a in ALPHA], axis=0)
    np.testing.assert_allclose(fractions[:, 2], shares)


def test_scores_of_a_mixture():
    scores = TASK.metrics(ALPHA, VOTES)
    nll = mixture_nll(ALPHA, VOTES, SCHEMA.question_slices)
    assert scores["nll"] == pytest.approx(nll.sum(axis=1).mean())
    fractions = TASK.expect(ALPHA)[1:, 2:]
    errors = fractions - VOTES[1:, 2:] / VOTES[1:, 2:].sum(axis=1, keepdims=True)
    assert scores["fraction_rmse_bar"] == pytest.approx(np.sqrt((errors**2).mean()))
    right = VOTES[1:, 2:][np.arange(5), fractions.argmax(axis=1)] == VOTES[1:, 2:].max(axis=1)
    assert scores["accuracy_bar"] == pytest.approx(right.mean())
    repeated = TASK.metrics(np.stack([ALPHA[0]] * 4), VOTES)
    for name, score in TASK.metrics(ALPHA[0], VOTES).items():
        assert repeated[name] == pytest.approx(score, nan_ok=True)


def test_wrong_mixtures_are_refused():
    with pytest.raises(LabelError, match="expected concentrations and votes"):
        TASK.metrics(ALPHA[:, :5], VOTES)
    bad = ALPHA.copy()
    bad[1, 2, 3] = -1
    with pytest.raises(NonFiniteError, match=r"1 rows are not; the first: \[2\]"):
        TASK.metrics(bad, VOTES)
