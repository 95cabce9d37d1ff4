"""Volunteers' votes on a decision tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zoobot.shared import defaults, metrics
from zoobot.shared.errors import ConfigError, LabelError, NonFiniteError
from zoobot.shared.likelihood import mixture_nll
from zoobot.shared.posteriors import chance_inside, expected_fractions, fraction_intervals, vote_cdf
from zoobot.shared.schemas import Schema, get
from zoobot.shared.settings import check_record
from zoobot.shared.tasks.base import (
    CALIBRATION_ERROR,
    Decision,
    Group,
    Mistakes,
    ScoresToRead,
    Task,
    refuse_voteless,
)
from zoobot.shared.votes import check_votes, fractions_from_votes, sum_by_question

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.metrics import Scorer


@dataclass(frozen=True, kw_only=True)
class TreeTask(Task):
    """Volunteers' votes for every answer of a decision tree; NaN where a question was not asked.

    Args:
        schema: The decision tree. Its label columns are the task's.
    """

    kind: ClassVar[str] = "tree"
    predicts = "votes"
    noun: ClassVar[str] = "answer or question"
    model: ClassVar[str] = "FinetuneableZoobotTree"
    head: ClassVar[str] = "DirichletHead"
    loss: ClassVar[str] = "dirichlet_multinomial_nll"
    scores = ScoresToRead(
        rows="question",
        headline=(
            ("fraction_rmse", "RMSE of vote fractions"),
            ("accuracy", "accuracy (mean of questions)"),
            ("accuracy_confident", "accuracy where volunteers agree"),
            ("nll", "loss (nats a galaxy)"),
            CALIBRATION_ERROR,
            ("challenge_rmse", "RMSE of the Galaxy Challenge"),
        ),
        columns=(
            ("n", "galaxies"),
            ("fraction_rmse", "RMSE"),
            ("accuracy", "accuracy"),
            ("accuracy_confident", "agreed"),
        ),
        by_epoch=("accuracy", "accuracy_confident", "fraction_rmse"),
    )
    schema: Schema

    def __post_init__(self) -> None:
        check_record(self)
        if self.label_cols and list(self.label_cols) != list(self.schema.label_cols):
            raise ConfigError(
                f"the label columns of a tree are its schema's ({self.schema.name}: "
                f"{list(self.schema.label_cols)}), got {list(self.label_cols)}"
            )
        object.__setattr__(self, "label_cols", tuple(self.schema.label_cols))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Task:
        """The task back from the values of `to_config`, but its kind."""
        schema = {"schema": Schema.from_config(values["schema"])} if "schema" in values else {}
        return super().from_values({**values, **schema})

    @classmethod
    def of_columns(cls, label_cols: Sequence[str], **said: Any) -> TreeTask:
        """The task of a `schema`, which says its columns."""
        return cls(schema=said["schema"])

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        return len(self.schema.label_cols)

    @property
    def num_factors(self) -> int:
        """How many factors say how sure a model of this task may be."""
        return self.num_outputs

    @property
    def groups(self) -> tuple[Group, ...]:
        """The questions with their answers."""
        return tuple(
            Group(question.text, question.slice, tuple(answer.pretty for answer in question.answers))
            for question in self.schema.questions
        )

    @property
    def tree(self) -> Schema:
        """The decision tree."""
        return self.schema

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        return [f"{name}_concentration" for name in self.label_cols]

    @property
    def model_options(self) -> dict[str, Any]:
        """What a model of votes is told of the task."""
        return {"schema": self.schema}

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless these are votes for the answers of the tree."""
        check_votes(labels, self.schema, ids)

    def check_learnable(self, labels: np.ndarray, part: str) -> None:
        """Raise a LabelError if nobody voted on galaxies to learn from."""
        if part in ("train", "val"):
            refuse_voteless(labels, part)

    def describe_labels(self, labels: np.ndarray) -> dict[str, str]:
        """How many votes there are, and on which question the fewest, in words."""
        votes = np.nan_to_num(labels)
        totals = np.array([votes[:, part].sum(axis=1) for part in self.schema.question_slices])
        asked = (totals > 0).sum(axis=1)
        rare = int(np.argmin(asked))
        name = self.schema.questions[rare].text
        median = f"{np.median(totals.max(axis=0)):.3g} a galaxy (median)"
        return {"votes": f"{median}; rarest question: {name}, of {asked[rare]:,} galaxies"}

    def mix(self, samples: np.ndarray) -> np.ndarray:
        """The concentrations as they are: a mixture of Dirichlet distributions is none itself."""
        return samples[0] if len(samples) == 1 else samples

    def expect(self, predicted: np.ndarray) -> np.ndarray:
        """Expected vote fractions, (galaxies, answers)."""
        return expected_fractions(predicted, self.schema)

    def reliability(
        self, predicted: np.ndarray, labels: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each question the expected fractions of its answers, and those of the votes."""
        expected, observed = self.expect(predicted), fractions_from_votes(labels, self.schema)
        return {
            group.name: (expected[:, group.slice].ravel(), observed[:, group.slice].ravel())
            for group in self.groups
        }

    def scorer(self, predictions: np.ndarray, labels: np.ndarray) -> Scorer:
        """What gives the scores of `tree_metrics` of weighted galaxies."""
        return tree_scorer(predictions, labels, self.schema)

    def decisions(
        self,
        expected: np.ndarray,
        labels: np.ndarray,
        *,
        truth_threshold: float = 0.5,
        truth_votes: int = defaults.ENOUGH_VOTES,
    ) -> list[Decision]:
        """Whether more than a share of the volunteers give each answer, of galaxies with enough votes."""
        observed = self._sure_fractions(labels, truth_votes)
        truth = np.where(np.isnan(observed), np.nan, observed > truth_threshold)
        decisions = []
        for question, title in zip(self.schema.questions, self.schema.titles, strict=True):
            places = range(question.slice.start, question.slice.stop)
            for answer, place in zip(question.answers, places, strict=True):
                if len(places) > 1:
                    words = f"{title}: {answer.pretty.lower()}"
                    decisions.append(
                        Decision(self.label_cols[place], expected[:, place], truth[:, place], words)
                    )
        return decisions

    def mistakes(
        self, expected: np.ndarray, labels: np.ndarray, *, truth_votes: int = defaults.ENOUGH_VOTES
    ) -> Mistakes:
        """The largest difference from a fraction of enough votes."""
        observed = self._sure_fractions(labels, truth_votes)
        sizes = np.nan_to_num(np.abs(expected - observed).round(9), nan=-1.0)
        worst, size = sizes.argmax(axis=1), sizes.max(axis=1)

        names = [
            (f"{title}: {answer.pretty.lower()}", question.slice)
            for question, title in zip(self.schema.questions, self.schema.titles, strict=True)
            for answer in question.answers
        ]

        def words(galaxy: int) -> str:
            place = worst[galaxy]
            name, part = names[place]
            said, truth = expected[galaxy, place], observed[galaxy, place]
            votes = np.nan_to_num(labels[galaxy, part]).sum()
            return f"{name}: said {said:.2f}, volunteers {truth:.2f} of {votes:.0f} votes"

        return Mistakes(np.where(size > 0, size, np.nan), words)

    def _sure_fractions(self, labels: np.ndarray, truth_votes: int) -> NDArray[np.float64]:
        """Volunteers' fractions, (galaxies, answers); NaN where too few were asked."""
        fractions = fractions_from_votes(labels, self.schema)
        for part in self.schema.question_slices:
            few = np.nan_to_num(labels[:, part]).sum(axis=1) < max(truth_votes, 1)
            fractions[few, part] = np.nan
        return fractions

    @property
    def conformal_names(self) -> tuple[str, ...]:
        """The answers."""
        return tuple(self.label_cols)

    def nonconformity(self, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How far out in its predicted distribution each number of votes is: minus the log of what is beyond.

        So it says which central interval of predicted votes just holds them. Votes are whole, so that a
        number of them has a step of that distribution: the place within is random, and seeded.
        """
        fewer, exactly, asked = self._places(predicted, labels)
        places = fewer + np.random.default_rng(defaults.SEED).random(fewer.shape) * exactly
        beyond = np.clip(np.minimum(places, 1 - places), _LEAST_TAIL, 0.5)
        return np.where(asked, -np.log(beyond), np.nan)

    def _places(
        self, predicted: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, NDArray[np.bool_]]:
        """The chance of fewer votes and of exactly so many, and whether there was anything to ask."""
        counts = np.rint(np.nan_to_num(check_votes(labels, self.schema)))
        volunteers = sum_by_question(counts, self.schema.question_slices)
        sizes = [len(question.answers) for question in self.schema.questions]
        asked = np.repeat((volunteers > 0) & (np.array(sizes) > 1), sizes, axis=1)
        return *vote_cdf(counts, predicted, self.schema, volunteers), asked

    def interval_columns(self, level: str) -> list[tuple[str, str, str]]:
        """Both ends of the interval of each answer's fraction."""
        return [
            (
                f"{name}_fraction_{end}_{level}",
                "float32",
                f"{end} end of the fraction's {level}% interval",
            )
            for name in self.conformal_names
            for end in ("lower", "upper")
        ]

    def intervals(self, predicted: np.ndarray, thresholds: np.ndarray) -> list[np.ndarray]:
        """The Dirichlet's intervals, at the level that holds as many votes as were asked for."""
        lower, upper = fraction_intervals(predicted, self.schema, level=_levels(thresholds))
        return [end for k in range(self.num_outputs) for end in (lower[:, k], upper[:, k])]

    def judge_intervals(
        self, predicted: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How likely the votes lie in the interval of predicted votes; how wide that of the fraction is."""
        fewer, exactly, asked = self._places(predicted, labels)
        levels = _levels(thresholds)
        lower, upper = fraction_intervals(predicted, self.schema, level=levels)
        known = asked & ~np.isnan(thresholds)
        return np.where(known, chance_inside(fewer, exactly, levels), np.nan), upper - lower

    @property
    def score_rows(self) -> tuple[str, ...]:
        """The questions."""
        return tuple(question.text for question in self.schema.questions)

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"schema": self.schema.to_config()}


def tree_task(schema: Schema | str) -> TreeTask:
    """The task of a tree model, from a schema or the name of one."""
    return TreeTask(schema=get(schema) if isinstance(schema, str) else schema)


#: A tail of predicted votes is not told from a smaller one.
_LEAST_TAIL = 1e-9


def _levels(thresholds: np.ndarray) -> np.ndarray:
    """The levels of central intervals that leave so much beyond; 1 where nothing is too far out."""
    return np.where(thresholds >= -np.log(_LEAST_TAIL), 1.0, 1 - 2 * np.exp(-thresholds))


# Scores of predicted concentrations against volunteers' votes, question by question of a decision tree.

#: Volunteers agree on a galaxy if more than this share of them give one answer.
CONFIDENT_FRACTION = 0.8


def tree_metrics(concentrations: np.ndarray, votes: np.ndarray, schema: Schema) -> dict[str, float]:
    """Scores of a model of volunteers' votes.

    The predicted answer of a question is the one with the largest expected fraction; it is right if no other
    answer got more votes. A galaxy counts for a question if anyone was asked it, and is confident if more
    than 80 % of its votes agree.

    Args:
        concentrations: Positive, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: (galaxies, answers), 0 or more; NaN or no votes at all where a question was not asked.
        schema: The decision tree.

    Returns:
        For each question `nll_QUESTION` (mean negative log-likelihood of its votes, nats),
        `fraction_rmse_QUESTION`, `accuracy_QUESTION`, `accuracy_confident_QUESTION`, and the galaxies behind
        them, `n_QUESTION` and `n_confident_QUESTION`. Over all questions: `nll` (summed over questions, mean
        over galaxies), `fraction_rmse` (over every answer of every question asked), `accuracy` and
        `accuracy_confident` (means over questions), `n` (galaxies). Of a schema that joins campaigns also
        `nll_campaign_CAMPAIGN` (summed over its questions, mean over its galaxies). NaN where nobody was
        asked.

    Raises:
        LabelError: If the shapes do not fit, or votes are negative.
        NonFiniteError: If a concentration is not finite and positive.

    References:
        Walmsley et al. 2022, MNRAS 509, 3966: accuracy on galaxies whose volunteers agree.
    """
    return metrics.score_once(tree_scorer(concentrations, votes, schema), len(votes))


def tree_scorer(concentrations: np.ndarray, votes: np.ndarray, schema: Schema) -> Scorer:
    """What gives the scores of `tree_metrics`, told the same, of weighted galaxies."""
    samples = np.asarray(concentrations, dtype=np.float64)
    samples = samples if samples.ndim == 3 else samples[None]
    for sample in samples:
        _check(sample, votes)
    votes = np.asarray(votes, dtype=np.float64)
    if votes.shape[1] != len(schema.label_cols):
        msg = f"schema {schema.name!r} has {len(schema.label_cols)} answers, got {votes.shape[1]} columns"
        raise LabelError(msg)
    nll = mixture_nll(samples, votes, schema.question_slices)
    expected = expected_fractions(samples, schema)
    parts = schema.question_slices
    names = [question.text for question in schema.questions]
    asked, confident, right, squares = (np.zeros((len(votes), len(parts))) for _ in range(4))
    for place, part in enumerate(parts):
        predicted, counted = expected[:, part], np.nan_to_num(votes[:, part])
        total, most = counted.sum(axis=1), counted.max(axis=1)
        asked[:, place] = total > 0
        confident[:, place] = asked[:, place] * (most > CONFIDENT_FRACTION * total)
        right[:, place] = counted[np.arange(len(counted)), predicted.argmax(axis=1)] == most
        observed = counted / np.where(total > 0, total, 1.0)[:, None]
        squares[:, place] = asked[:, place] * ((predicted - observed) ** 2).sum(axis=1)
    columns = np.hstack([asked, confident, asked * right, confident * right, squares, asked * nll])
    campaigns = {
        name: (asked[:, list(places)].any(axis=1), nll[:, list(places)].sum(axis=1))
        for name, places in schema.campaigns.items()
    }
    answers = np.array([part.stop - part.start for part in parts])

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        n, agreed, hits, agreed_hits, squared, losses = np.split(weights @ columns, 6, axis=1)
        galaxies = weights.sum(axis=1)
        per_question = {
            "nll": metrics.ratio(losses, n),
            "fraction_rmse": metrics.ratio(squared, n * answers) ** 0.5,
            "accuracy": metrics.ratio(hits, n),
            "accuracy_confident": metrics.ratio(agreed_hits, agreed),
            "n": n,
            "n_confident": agreed,
        }
        scores = {
            "nll": metrics.ratio(losses.sum(axis=1), galaxies),
            "n": galaxies,
            "fraction_rmse": metrics.ratio(squared.sum(axis=1), (n * answers).sum(axis=1)) ** 0.5,
            "accuracy": metrics.mean_of_defined(per_question["accuracy"]),
            "accuracy_confident": metrics.mean_of_defined(per_question["accuracy_confident"]),
        }
        for name, (own, loss) in campaigns.items():
            scores[f"nll_campaign_{name}"] = metrics.ratio(
                weights @ (own * loss), weights @ own.astype(float)
            )
        return scores | metrics.by_name(per_question, names)

    return score


def _check(concentrations: np.ndarray, votes: np.ndarray) -> None:
    concentrations = np.asarray(concentrations, dtype=np.float64)
    votes = np.asarray(votes, dtype=np.float64)
    if concentrations.ndim != 2 or concentrations.shape != votes.shape:
        raise LabelError(
            "expected concentrations and votes, both (galaxies, answers), got the shapes "
            f"{concentrations.shape} and {votes.shape}"
        )
    bad = np.flatnonzero(~(np.isfinite(concentrations) & (concentrations > 0)).all(axis=1))
    if len(bad):
        raise NonFiniteError(
            f"concentrations must be finite and positive, but {len(bad)} rows are not; the first: "
            f"{bad[:10].tolist()}"
        )
