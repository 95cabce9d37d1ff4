"""Volunteers who look at a simulated galaxy and answer a decision tree, less surely where little is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import SchemaError
from zoobot.simulate.drawing import Galaxy, draw_galaxy

if TYPE_CHECKING:
    from zoobot.shared.trees.questions import Question
    from zoobot.shared.trees.tree import Schema

# What volunteers think of a galaxy: for every question of the Galaxy Zoo trees, how likely each answer is.
#
# Campaigns word some answers differently (`cigar`, `cigar-shaped`): all words are here, a schema takes its
# own.

Opinions = dict[str, dict[str, float]]

# Where each answer stands on the scale of what is asked.
_BULGE_SIZES = {  # square root of the bulge's share of the light
    "none": 0.0,
    "no": 0.0,
    "small": 0.22,
    "just-noticeable": 0.26,
    "moderate": 0.37,
    "obvious": 0.48,
    "large": 0.54,
    "dominant": 0.75,
}
_AXIS_RATIOS = {
    "round": 0.96,
    "completely": 0.96,
    "in-between": 0.6,
    "cigar-shaped": 0.24,
    "cigar": 0.24,
}
_PITCH_ANGLES_DEG = {"tight": 11.0, "medium": 19.0, "loose": 31.0}
_ARMS = {"1": 1, "2": 2, "3": 3, "4": 4, "more-than-4": 5, "5-plus": 5}


def opinions_of(galaxy: Galaxy, visibility: float) -> Opinions:
    """The weight of every answer to every question, by the question's name without a survey's suffix.

    Args:
        galaxy: The truth.
        visibility: How well details can be seen, in [0, 1]; where they can't, smooth and plain answers win.

    Returns:
        Weights of at least 0, not normalised: synonyms and groups of answers (`yes`: weak or strong) overlap.
    """
    return (
        _first_impression(galaxy, visibility)
        | _disk(galaxy, visibility)
        | _spiral(galaxy, visibility)
        | _oddities(galaxy, visibility)
        | _clumps(galaxy, visibility)
        | _problems(galaxy)
    )


def _near(value: float, position: float, width: float) -> float:
    return math.exp(-0.5 * ((value - position) / width) ** 2)


def _sure(evidence: float) -> float:
    return 1 / (1 + math.exp(-evidence))


def _yes_no(yes: float) -> dict[str, float]:
    return {"yes": yes, "no": 1 - yes}


def _first_impression(galaxy: Galaxy, visibility: float) -> Opinions:
    evidence = (
        1.5 * galaxy.arm_strength * (galaxy.arms > 0)
        + 1.1 * galaxy.bar_strength
        + 1.1 * galaxy.ring_strength
        + 1.3 * (galaxy.body == "edge-on")
        + 0.3 * (galaxy.body == "disk")
        + 0.4 * galaxy.flocculence * galaxy.youth
        + 1.0 * (galaxy.disturbance in ("major-disturbance", "merger"))
        + max(0.0, 1.2 * (0.4 - galaxy.axis_ratio)) * (galaxy.body == "smooth")
    )
    featured = _sure(6 * (evidence * (0.35 + 0.65 * visibility) - 0.62))
    spoiled = {
        "star": 0.85,
        "saturation": 0.8,
        "trail": 0.45,
        "glitch": 0.55,
        "none": 0.01 + 0.04 * (1 - visibility),
    }
    artifact = spoiled[galaxy.artifact]
    featured, smooth = featured * (1 - artifact), (1 - featured) * (1 - artifact)
    words = {"smooth": smooth, "featured-or-disk": featured, "features": featured}
    words |= dict.fromkeys(("artifact", "problem", "star-artifact-zoom"), artifact)
    unsure = 0.11 + 0.07 * (1 - visibility)
    return {
        "smooth-or-featured": words,
        "how-rounded": {
            word: _near(galaxy.axis_ratio, place, unsure) for word, place in _AXIS_RATIOS.items()
        },
    }


def _disk(galaxy: Galaxy, visibility: float) -> Opinions:
    edge_on = _sure((0.31 - galaxy.axis_ratio) / (0.04 + 0.03 * (1 - visibility)))
    seen = galaxy.bar_strength * (0.4 + 0.6 * visibility)
    bar = {word: _near(seen, place, 0.2) for word, place in (("no", 0.0), ("weak", 0.38), ("strong", 0.85))}
    bar["yes"] = bar["weak"] + bar["strong"]
    bulge = math.sqrt(galaxy.bulge_to_total)
    unsure = 0.07 + 0.08 * (1 - visibility)
    shape = {"none": 0.12, "rounded": 0.12, "boxy": 0.06}
    seen_bulge = (
        "rounded" if galaxy.body != "edge-on" and galaxy.bulge_to_total > 0.1 else galaxy.edge_on_bulge
    )
    shape[seen_bulge] += 0.3 + visibility
    shape |= {"round": shape["rounded"], "no-bulge": shape["none"]}
    shape |= {"yes": shape["rounded"] + shape["boxy"], "no": shape["none"]}
    return {
        "disk-edge-on": _yes_no(edge_on),
        "bar": bar,
        "bulge-size": {word: _near(bulge, place, unsure) for word, place in _BULGE_SIZES.items()},
        "edge-on-bulge": shape,
        "bulge-shape": shape,
    }


def _spiral(galaxy: Galaxy, visibility: float) -> Opinions:
    evidence = galaxy.arm_strength if galaxy.arms else 0.12 * galaxy.ring_strength + 0.15 * galaxy.flocculence
    spiral = _sure(
        9 * (evidence * (0.35 + 0.65 * visibility) * math.sqrt(min(1, galaxy.axis_ratio + 0.2)) - 0.24)
    )
    pitch = galaxy.pitch_angle_deg if galaxy.arms else 17.0
    unsure = (0.2 if galaxy.arms else 0.5) + 0.25 * (1 - visibility)
    winding = {word: _near(math.log(pitch / place), 0, unsure) for word, place in _PITCH_ANGLES_DEG.items()}
    arms = min(galaxy.arms, 5) if galaxy.arms else 2
    spread = 0.34 + 0.5 * (1 - visibility) + 0.06 * arms + 0.5 * (not galaxy.arms)
    count = {word: _near(arms, place, spread) for word, place in _ARMS.items()}
    count["cant-tell"] = 0.06 + 0.6 * (1 - visibility) + 0.3 * galaxy.flocculence**2 + 0.4 * (not galaxy.arms)
    return {"has-spiral-arms": _yes_no(spiral), "spiral-winding": winding, "spiral-arm-count": count}


def _oddities(galaxy: Galaxy, visibility: float) -> Opinions:
    certain = {
        "none": (0.9, 0.07, 0.02, 0.01),
        "minor-disturbance": (0.3, 0.5, 0.15, 0.05),
        "major-disturbance": (0.08, 0.22, 0.5, 0.2),
        "merger": (0.04, 0.06, 0.2, 0.7),
    }
    words = ("none", "minor-disturbance", "major-disturbance", "merger")
    state = dict(zip(words, certain[galaxy.disturbance], strict=True))
    blind = 0.5 * (1 - visibility)
    state = {word: (1 - blind) * weight + blind * (word == "none") for word, weight in state.items()}
    debris = state["minor-disturbance"] + 0.7 * state["major-disturbance"]
    merging = state | {
        "neither": state["none"],
        "tidal-debris": debris,
        "both": 0.3 * state["major-disturbance"],
    }
    ring = _sure(9 * (galaxy.ring_strength * (0.4 + 0.6 * visibility) - 0.32))
    dust = 0.5 * galaxy.dust * (galaxy.body == "edge-on") * visibility
    disturbed = 1 - state["none"]
    odd = {
        "ring": 0.6 * ring,
        "lens-or-arc": 0.01,
        "disturbed": state["minor-disturbance"] + state["major-disturbance"],
        "irregular": 0.1 * galaxy.flocculence + 0.5 * state["minor-disturbance"],
        "other": 0.1,
        "merger": state["merger"],
        "dust-lane": dust,
    }
    something_odd = 1 - (1 - 0.5 * ring) * (1 - 0.9 * disturbed) * (1 - dust)
    return {
        "merging": merging,
        "ring": _yes_no(ring),
        "something-odd": _yes_no(something_odd),
        "odd-feature": odd,
        "galaxy-symmetrical": _yes_no(0.85 - 0.7 * disturbed),
    }


def _clumps(galaxy: Galaxy, visibility: float) -> Opinions:
    clumpy = _sure(5 * (visibility * min(1.0, galaxy.knots / 40) - 0.7))
    return {
        "clumps": _yes_no(clumpy),
        "clumpy-appearance": _yes_no(clumpy),
        "clumps-embedded-larger-object": _yes_no(0.8),
    }


def _problems(galaxy: Galaxy) -> Opinions:
    is_star, is_fault = galaxy.artifact in ("star", "saturation"), galaxy.artifact in ("trail", "glitch")
    kind: Mapping[str, float] = {
        "star": 0.2 + is_star,
        "artifact": 0.3 + is_fault,
        "zoom": 0.25,
        "bad-zoom": 0.25,
    }
    fault = {
        "satellite": 0.05 + (galaxy.artifact == "trail"),
        "scattered": 0.1 + 0.3 * is_star,
        "diffraction": 0.05 + (galaxy.artifact == "star"),
        "ray": 0.05,
        "saturation": 0.05 + (galaxy.artifact == "saturation"),
        "other": 0.1 + (galaxy.artifact == "glitch"),
        "ghost": 0.05 + 0.2 * is_star,
    }
    return {"problem": dict(kind), "artifact": fault}


def _known_words() -> dict[str, frozenset[str]]:
    galaxy = draw_galaxy(np.random.default_rng(0), median_radius_arcsec=1.0)
    return {question: frozenset(answers) for question, answers in opinions_of(galaxy, 1.0).items()}


QUESTIONS: Mapping[str, frozenset[str]] = _known_words()
"""Every question that can be answered, without a survey's suffix, and its answers in all their wordings."""

AGREEMENT = 20.0
"""Total concentration of the Dirichlet that spreads answers between galaxies that are alike in truth."""

_SLIP = 0.03
"""Share of answers given without looking."""


def check_schema(schema: Schema) -> None:
    """Check that volunteers can be simulated for every question of a tree.

    Args:
        schema: The tree. A question is known by its name without the survey's suffix: `bar-dr5` is `bar`.

    Raises:
        SchemaError: A question or an answer has no simulated counterpart.
    """
    for question in schema.questions:
        known = QUESTIONS[_root_of(question)]
        unknown = [answer.text for answer in question.answers if answer.text not in known]
        if unknown:
            raise SchemaError(
                f"volunteers can't be simulated for the answers {unknown!r} to {question.text!r} "
                f"(schema {schema.name!r}); they can answer {sorted(known)}"
            )


def answer_probabilities(galaxy: Galaxy, schema: Schema, *, visibility: float) -> np.ndarray:
    """The probability, (answers,), that a volunteer gives each answer: they add up to 1 in each question.

    Args:
        galaxy: The truth.
        schema: The tree.
        visibility: How well details can be seen, in [0, 1].

    Example:
        >>> from zoobot.shared import schemas
        >>> from zoobot.simulate import draw_galaxy
        >>> galaxy = draw_galaxy(np.random.default_rng(0), median_radius_arcsec=6, kinds={"edge-on": 1})
        >>> tree = schemas.get("gz_decals_dr5")
        >>> probabilities = answer_probabilities(galaxy, tree, visibility=1.0)
        >>> bool(probabilities[tree.get_answer("disk-edge-on-dr5_yes").index] > 0.9)
        True
    """
    opinions = opinions_of(galaxy, visibility)
    probabilities = np.empty(len(schema.label_cols))
    for question in schema.questions:
        probabilities[question.slice] = _probabilities(question, opinions)
    return probabilities


def cast_votes(
    galaxy: Galaxy, schema: Schema, rng: np.random.Generator, *, visibility: float, volunteers: int
) -> np.ndarray:
    """How many volunteers gave each answer, (answers,): each is asked only what follows from their own.

    For each question the galaxy has its own answer probabilities, drawn from a Dirichlet distribution around
    what the truth suggests, so that counts are Dirichlet-multinomial.

    Args:
        galaxy: The truth.
        schema: The tree.
        rng: Source of randomness.
        visibility: How well details can be seen, in [0, 1].
        volunteers: How many look.

    Raises:
        SchemaError: The tree asks what can't be simulated, see `check_schema`.

    References:
        Votes as Dirichlet-multinomial draws: Walmsley et al. (2022), MNRAS 509, 3966.
    """
    expected = answer_probabilities(galaxy, schema, visibility=visibility)
    given: dict[str, np.ndarray] = {}
    votes = np.zeros(len(schema.label_cols), dtype=np.int64)
    waiting = list(schema.questions)
    while waiting:
        question = next(q for q in waiting if not set(q.parents) & _unanswered(waiting))
        waiting.remove(question)
        weights = rng.standard_gamma(AGREEMENT * expected[question.slice]) + 1e-12
        chosen = np.searchsorted(
            np.cumsum(weights / weights.sum())[:-1], rng.random(volunteers), side="right"
        )
        asked = np.any([given[parent] for parent in question.parents], axis=0) if question.parents else True
        for position, answer in enumerate(question.answers):
            given[answer.label_col] = (chosen == position) & asked
            votes[answer.index] = np.count_nonzero(given[answer.label_col])
    return votes


def _unanswered(questions: list[Question]) -> set[str]:
    return {label_col for question in questions for label_col in question.label_cols}


def _root_of(question: Question) -> str:
    """The name of a question without its survey: `bar` for `bar-dr5`."""
    for root in (question.text, question.text.rpartition("-")[0]):
        if root in QUESTIONS:
            return root
    raise SchemaError(
        f"volunteers can't be simulated for the question {question.text!r}; they can answer "
        f"{sorted(QUESTIONS)}, with or without a survey's suffix such as -dr5"
    )


def _probabilities(question: Question, opinions: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    root = _root_of(question)
    weights = np.array([opinions[root].get(answer.text, math.nan) for answer in question.answers])
    if np.isnan(weights).any():
        unknown = [
            answer.text
            for answer, weight in zip(question.answers, weights, strict=True)
            if math.isnan(weight)
        ]
        raise SchemaError(f"volunteers can't be simulated for the answers {unknown!r} to {question.text!r}")
    weights = (weights + 1e-9) / (weights + 1e-9).sum()
    return (1 - _SLIP) * weights + _SLIP / len(weights)
