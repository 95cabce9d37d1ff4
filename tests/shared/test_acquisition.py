"""What labels are worth, against brute force, SciPy and limits that are known."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from zoobot.choosing.acquisition import score_galaxies
from zoobot.choosing.information import vote_information, vote_outcomes
from zoobot.choosing.strategy_names import read_strategy
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import KINDS, ClassificationTask, MultiLabelTask, RegressionTask, tree_task

ONE_QUESTION = Schema.from_pairs({"shape": ["round", "long", "odd"]}, {}, name="one")
TREE = Schema.from_pairs(
    {"shape": ["disk", "round"], "bar": ["yes", "no"], "arms": ["1", "2", "3"]},
    {"bar": "shape_disk", "arms": "bar_no"},
    name="three",
)
CLASSES = ClassificationTask(class_names=("a", "b", "c"))


def draw_concentrations(schema, samples=4, galaxies=5, seed=0):
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(1, 1.2, (samples, galaxies, len(schema.label_cols))))


def draw_probabilities(samples=5, galaxies=7, classes=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), (samples, galaxies))


def entropy(p):
    p = np.asarray(p)
    return -(p[p > 0] * np.log(p[p > 0])).sum()


def test_outcomes_are_all_ways_to_vote():
    ways = {tuple(way) for way in vote_outcomes(4, 3).tolist()}
    expected = {way for way in itertools.product(range(5), repeat=3) if sum(way) == 4}
    assert ways == expected
    assert len(vote_outcomes(4, 3)) == len(expected)


@pytest.mark.parametrize("volunteers", [1, 3, 6])
def test_information_of_one_question_is_that_of_brute_force(volunteers):
    alpha = draw_concentrations(ONE_QUESTION)
    found = vote_information(alpha, ONE_QUESTION, volunteers)
    ways = vote_outcomes(volunteers, 3)
    for galaxy in range(alpha.shape[1]):
        each = np.array([stats.dirichlet_multinomial(a, volunteers).pmf(ways) for a in alpha[:, galaxy]])
        np.testing.assert_allclose(each.sum(axis=1), 1)
        mixture = each.mean(axis=0)
        information = entropy(mixture) - np.mean([entropy(one) for one in each])
        np.testing.assert_allclose(found.information[galaxy, 0], information, atol=1e-12)
        np.testing.assert_allclose(found.entropy[galaxy, 0], entropy(mixture), atol=1e-12)


def test_a_single_members_entropy_is_that_of_its_marginals():
    """Of one Dirichlet-multinomial the entropy follows from beta-binomials, without any enumeration."""
    n = 7
    for a in draw_concentrations(ONE_QUESTION, samples=1)[0]:
        total, votes = a.sum(), np.arange(n + 1)
        terms = 0.0
        for own in a:
            marginal = stats.betabinom(n, own, total - own).pmf(votes)
            terms += marginal @ (gammaln(own + votes) - gammaln(own) - gammaln(votes + 1))
        expected = -(gammaln(n + 1) + gammaln(total) - gammaln(total + n) + terms)
        found = vote_information(a[None, None], ONE_QUESTION, n)
        np.testing.assert_allclose(found.entropy[0, 0], expected, atol=1e-10)
        np.testing.assert_allclose(found.information[0, 0], 0, atol=1e-12)


def paths_of(fractions):
    """The probability of every way through TREE that one volunteer can take."""
    disk, round_, yes, no, *arms = fractions
    return np.array([round_, disk * yes, *(disk * no * arm for arm in arms)])


def test_for_one_volunteer_the_score_of_a_tree_is_the_information_in_the_whole_path():
    alpha = draw_concentrations(TREE, samples=6, galaxies=8)
    fractions = np.concatenate(
        [alpha[..., q.slice] / alpha[..., q.slice].sum(axis=-1, keepdims=True) for q in TREE.questions],
        axis=-1,
    )
    found = score_galaxies(tree_task(TREE), alpha, score="bald", n_volunteers=1)
    total_entropy = score_galaxies(tree_task(TREE), alpha, score="entropy", n_volunteers=1)
    for galaxy in range(8):
        each = np.array([paths_of(one) for one in fractions[:, galaxy]])
        expected = entropy(each.mean(axis=0)) - np.mean([entropy(one) for one in each])
        np.testing.assert_allclose(found.score[galaxy], expected, atol=1e-12)
        np.testing.assert_allclose(total_entropy.score[galaxy], entropy(each.mean(axis=0)), atol=1e-12)


def test_identical_members_tell_nothing_and_more_volunteers_tell_more():
    alpha = draw_concentrations(TREE)
    same = np.repeat(alpha[:1], 5, axis=0)
    np.testing.assert_allclose(vote_information(same, TREE, 5).information, 0, atol=1e-10)
    found = [vote_information(alpha, TREE, n).information for n in (1, 2, 4, 8)]
    assert all((more >= fewer).all() for fewer, more in itertools.pairwise(found))
    assert (found[0] > 0).all()
    assert (found[-1] <= np.log(len(alpha)) + 1e-12).all()


def test_certain_members_that_disagree_tell_who_is_right():
    alpha = [[[1e6, 1e-3]], [[1e-3, 1e6]]]
    found = vote_information(alpha, schemas.get("gz_rings"), 3)
    np.testing.assert_allclose(found.information, np.log(2), rtol=1e-6)


def test_a_question_that_is_not_asked_does_not_count():
    alpha = np.ones((2, 1, 7))
    alpha[:, 0, :2] = [1e-9, 1e3]  # never a disk
    alpha[0, 0, 2:4], alpha[1, 0, 2:4] = [100, 1], [1, 100]  # though members quarrel over bars
    found = score_galaxies(tree_task(TREE), alpha)
    assert found.score[0] < 1e-6
    alpha[:, 0, :2] = [1e3, 1e-9]
    found = score_galaxies(tree_task(TREE), alpha)
    assert found.score[0] > 0.5
    assert found.reasons == ["bar"]


def test_the_order_of_members_and_answers_does_not_matter():
    alpha = draw_concentrations(ONE_QUESTION)
    base = vote_information(alpha, ONE_QUESTION, 4).information
    np.testing.assert_allclose(vote_information(alpha[::-1], ONE_QUESTION, 4).information, base)
    np.testing.assert_allclose(vote_information(alpha[..., [2, 0, 1]], ONE_QUESTION, 4).information, base)
    twice = np.concatenate([alpha, alpha])
    np.testing.assert_allclose(vote_information(twice, ONE_QUESTION, 4).information, base)


def test_parts_of_many_galaxies_are_those_of_each(monkeypatch):
    alpha = draw_concentrations(TREE, galaxies=11)
    whole = vote_information(alpha, TREE, 3)
    monkeypatch.setattr("zoobot.choosing.information._NUMBERS_IN_MEMORY", 100)
    for one, other in zip(vote_information(alpha, TREE, 3), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_too_many_volunteers_are_refused_before_memory_is():
    with pytest.raises(ConfigError, match="ask fewer volunteers"):
        vote_information(np.ones((2, 1, 37)), schemas.get("gz2_full"), 40)


def test_scores_of_classes_are_what_they_say():
    p = draw_probabilities()
    bald = score_galaxies(CLASSES, p, score="bald").score
    mean = p.mean(axis=0)
    expected = stats.entropy(mean, axis=-1) - stats.entropy(p, axis=-1).mean(axis=0)
    np.testing.assert_allclose(bald, expected, atol=1e-12)
    assert (bald >= 0).all()
    assert (bald <= np.log(3)).all()
    np.testing.assert_allclose(
        score_galaxies(CLASSES, p, score="entropy").score, stats.entropy(mean, axis=-1)
    )
    ordered = np.sort(mean, axis=-1)
    np.testing.assert_allclose(
        score_galaxies(CLASSES, p, score="margin").score, 1 - ordered[:, -1] + ordered[:, -2]
    )
    np.testing.assert_allclose(score_galaxies(CLASSES, p, score="least-confidence").score, 1 - ordered[:, -1])


def test_one_volunteer_of_a_class_like_question_is_a_class():
    alpha = draw_concentrations(ONE_QUESTION)
    p = alpha / alpha.sum(axis=-1, keepdims=True)
    of_votes = score_galaxies(tree_task(ONE_QUESTION), alpha, score="bald", n_volunteers=1).score
    np.testing.assert_allclose(of_votes, score_galaxies(CLASSES, p, score="bald").score, atol=1e-12)


def test_labels_add_up():
    p = draw_probabilities(classes=2)
    task = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    found = score_galaxies(task, p, score="bald")
    for label in range(2):
        one = np.stack([1 - p[..., label], p[..., label]], axis=-1)
        expected = stats.entropy(one.mean(axis=0), axis=-1) - stats.entropy(one, axis=-1).mean(axis=0)
        np.testing.assert_allclose(found.parts[:, label], expected, atol=1e-12)
    np.testing.assert_allclose(found.score, found.parts.sum(axis=1))
    assert found.names == ("ring", "bar")


def test_variance_does_not_depend_on_units():
    values = np.random.default_rng(0).normal(size=(4, 20, 2))
    task = RegressionTask(num_targets=2)
    base = score_galaxies(task, values)
    np.testing.assert_allclose(score_galaxies(task, values * [1000, 0.1] + 7).score, base.score)
    assert score_galaxies(task, np.repeat(values[:1], 3, axis=0)).score.max() < 1e-20


def test_margin_of_a_tree_weighs_questions_by_who_is_asked():
    alpha = np.array([[[30.0, 10.0, 1.0, 1.0, 8.0, 1.0, 1.0]]])
    found = score_galaxies(tree_task(TREE), alpha, score="margin")
    np.testing.assert_allclose(found.parts[0], [0.5, 0.75, 0.75 * 0.5 * 0.3])


def test_random_scores_are_seeded():
    p = draw_probabilities()
    first, again, other = (score_galaxies(CLASSES, p, score="random", seed=s).score for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("score", ["bald", "variance"])
def test_disagreement_needs_members(score):
    task = CLASSES if score == "bald" else RegressionTask()
    with pytest.raises(ConfigError, match="several predictions"):
        score_galaxies(task, np.full((3, task.num_outputs), 0.3), score=score)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_score_of_every_task_is_not_negative(kind):
    task, values = {
        "classification": (CLASSES, draw_probabilities()),
        "multi-label": (MultiLabelTask(num_labels=3), draw_probabilities()),
        "regression": (RegressionTask(num_targets=3), draw_probabilities()),
        "tree": (tree_task(TREE), draw_concentrations(TREE)),
    }[kind]
    for score in KINDS[kind].choosing:
        found = score_galaxies(task, values, score=score)
        assert (found.score >= 0).all()
        assert len(found.reasons) == values.shape[1]


def test_what_is_no_prediction_or_score_is_refused():
    with pytest.raises(LabelError, match="3 outputs"):
        score_galaxies(CLASSES, np.ones((2, 4)))
    with pytest.raises(LabelError, match="finite"):
        score_galaxies(CLASSES, np.full((2, 4, 3), np.nan))
    with pytest.raises(LabelError, match="probabilities"):
        score_galaxies(CLASSES, np.full((2, 4, 3), 2.0))
    with pytest.raises(ConfigError, match="must be one of"):
        score_galaxies(RegressionTask(), np.ones((2, 4, 1)), score="bald")


def test_many_volunteers_learn_the_fractions_themselves():
    """With ever more votes, the information tends to that between the fractions and the member."""
    alpha = np.array([[[2.0, 5.0]], [[5.0, 2.0]]])
    x = (np.arange(20_000) + 0.5) / 20_000
    densities = np.array([stats.beta(*one[0]).pdf(x) for one in alpha])
    mean = densities.mean(axis=0)
    limit = np.mean([(p * np.log(p / mean)).mean() for p in densities])
    found = vote_information(alpha, schemas.get("gz_rings"), 2000).information[0, 0]
    np.testing.assert_allclose(found, limit, rtol=5e-3)
    assert found < limit


@pytest.mark.parametrize(
    ("name", "score", "diversity"),
    [
        ("random", "random", "none"),
        ("bald", "bald", "none"),
        ("kcentre", None, "kcentre"),
        ("margin+kmeans++", "margin", "kmeans++"),
    ],
)
def test_names_of_strategies_are_read(name, score, diversity):
    found = read_strategy(name, "tree")
    assert (found.score, found.diversity) == (score, diversity)
    assert found.needs_predictions == (score in ("bald", "margin"))


@pytest.mark.parametrize("name", ["", "none", "bald+", "+kcentre", "bald+none", "variance", "kcentre+bald"])
def test_wrong_names_of_strategies_are_refused(name):
    with pytest.raises(ConfigError, match="a strategy for a tree task"):
        read_strategy(name, "tree")
