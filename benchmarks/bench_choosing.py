r"""Does any choice of galaxies beat a random one where a whole tree is learned?

    python benchmarks/bench_choosing.py --data DATA --work WORK --json benchmarks/results/choosing.json

DATA is a folder of labelled surveys: see benchmarks/README.md. Of the galaxies of `gz2_votes` each seed keeps
900 to score on, the others are the pool that labels are bought from: 50, 100, 200 and 400 of them. A head
learns from these on an encoder's features, with the same weight decay for all ways (one chosen by
cross-validation is a bad one now and then, which would drown what is asked here). All ways have the pool, the
scored galaxies and, but for those that choose them, the first 50 galaxies of a seed in common: what counts is
the difference of each to random choice in the same seed (a mean of several draws), and its standard error
over seeds. A killed run goes on from WORK.

What is no way of `zoobot prioritise` is here alone:

- gain: how much the votes of a galaxy are expected to lessen the loss of the whole pool, by Laplace's
  approximation to the posterior of the head, one galaxy after another (expected predictive information with
  the pool as its target, so that what is odd counts for as little as it is rare);
- dense+clusters: of each cluster the galaxy whose 20 nearest neighbours are nearest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from galaxy_tasks import TASKS
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from timing import write_record

from zoobot.choosing.diversity import choose_galaxies
from zoobot.choosing.information import vote_information
from zoobot.shared import defaults, schemas
from zoobot.shared.engine import engine_names, load_engine
from zoobot.shared.features.projections import fit_projection
from zoobot.shared.likelihood import TreeHeadLoss, dirichlet_multinomial_nll
from zoobot.shared.posteriors import probability_asked
from zoobot.shared.training.head_optimum import find_head

SCHEMA = schemas.get("gz2_full")
ENCODERS = ("imagenet-lite0", "zoobot-mini")
BUDGETS = (50, 100, 200, 400)
SCORED = 900
#: Of the sum, not the mean, over labelled galaxies; near the best for both encoders and any budget.
DECAY, LEAST_LABELS = 3000.0, 75
#: A third of the time of the usual head, whose loss it has to 0.02 nats.
PRECISION = 1e-6
MEMBERS, VOLUNTEERS, VOTES_EXPECTED, DRAWS_OF_VOTES = 5, 5, 40, 4
RARE = ("odd-feature", "spiral-arm-count")
SCORES = ("nll", *RARE)


class Round(NamedTuple):
    """What a way of choosing may look at.

    Attributes:
        features: Of the pool, (galaxies, features).
        directions: The same along the directions in which they differ most.
        labels: Votes, (galaxies, answers); only those of `bought` may be looked at.
        bought: Rows that are labelled already.
        weight: Of the head that learned from these, (answers, features); empty before the first.
        bias: Likewise, (answers,).
        rng: For all that is drawn.
    """

    features: NDArray
    directions: NDArray
    labels: NDArray
    bought: NDArray
    weight: NDArray
    bias: NDArray
    rng: np.random.Generator

    @property
    def open(self) -> NDArray:
        """The rows that can be bought."""
        return np.setdiff1d(np.arange(len(self.features)), self.bought)


def at_random(now: Round, n: int) -> NDArray:
    return now.rng.choice(now.open, n, replace=False)


def apart(now: Round, n: int, score: NDArray, diversity: str) -> NDArray:
    """What `zoobot prioritise` would list, by a score and a way to keep apart."""
    chosen = choose_galaxies(
        score,
        n,
        diversity=diversity,
        features=now.features[now.open],
        labelled=now.features[now.bought],
        seed=int(now.rng.integers(2**31)),
    )
    return now.open[chosen.rows]


def by_bald(diversity: str) -> Callable[[Round, int], NDArray]:
    def choose(now: Round, n: int) -> NDArray:
        members = []
        for _ in range(MEMBERS):
            drawn = now.bought[now.rng.integers(0, len(now.bought), len(now.bought))]
            members.append(
                concentrations(now.features[now.open], fit(now.features[drawn], now.labels[drawn]))
            )
        found = vote_information(np.stack(members), SCHEMA, VOLUNTEERS)
        return apart(now, n, (found.asked * found.information).sum(axis=1), diversity)

    return choose


def by_clusters(now: Round, n: int) -> NDArray:
    """`--score typical`, or random with clusters: one of each, drawn."""
    return apart(now, n, now.rng.random(len(now.open)), "clusters")


def by_kmeans(now: Round, n: int) -> NDArray:
    every = np.ones(len(now.open))  # the shortlist of equal scores would be the first of the table
    rows = now.rng.permutation(len(every))
    chosen = choose_galaxies(
        every,
        n,
        diversity="kmeans++",
        features=now.features[now.open][rows],
        labelled=now.features[now.bought],
        shortlist=len(every),
        seed=int(now.rng.integers(2**31)),
    )
    return now.open[rows[chosen.rows]]


def by_middles(now: Round, n: int) -> NDArray:
    """The strategy `clusters` of `zoobot loop`: of each cluster the galaxy nearest to its middle."""
    return apart(now, n, np.ones(len(now.open)), "clusters")


def by_density(now: Round, n: int) -> NDArray:
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=21).fit(now.directions).kneighbors(now.directions)
    return apart(now, n, 1 / distances[:, 1:].mean(axis=1)[now.open], "clusters")


def by_gain(now: Round, n: int) -> NDArray:
    """Greedy: the galaxy whose votes lessen the expected loss of the pool most, given those chosen before.

    The posterior of the weights of each output is normal, with the precision λ + Σ F φφᵀ of the labelled
    galaxies; F is the expected square of the loss's slope, φ are features. A label takes from the variances
    of all others what it explains, and each counts by its own F.
    """
    outputs = now.features @ now.weight.T + now.bias
    fisher = expected_squared_slopes(outputs, now.rng)
    fisher = np.stack([fisher[:, part].mean(axis=1) for part in SCHEMA.question_slices])
    fisher = 0.7 * fisher + 0.3 * fisher.mean(axis=1, keepdims=True)  # the head may be wrong: less sure of it
    phi = np.column_stack([now.directions, np.ones(len(now.features))])
    prior = DECAY * np.eye(phi.shape[1])
    prior[-1, -1] *= 1e-3  # biases are not pulled to 0
    candidates = phi[now.open]
    posteriors, targets = [], []
    for own in fisher:
        known = phi[now.bought]
        posterior = np.linalg.inv(prior + (known * own[now.bought, None]).T @ known)
        wanted = (phi * own[:, None]).T @ phi / len(phi)
        posteriors.append(posterior)
        targets.append(posterior @ wanted @ posterior)
    a, b = np.stack(posteriors), np.stack(targets)
    variance = np.einsum("gf,qfh,gh->qg", candidates, a, candidates, optimize=True)
    explained = np.einsum("gf,qfh,gh->qg", candidates, b, candidates, optimize=True)
    noise = 1 / np.maximum(fisher[:, now.open], 1e-9)
    chosen: list[int] = []
    for _ in range(n):
        gain = (explained / (noise + variance)).sum(axis=0)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        x = candidates[best]
        u, w = a @ x, b @ x
        c = 1 / (noise[:, best] + u @ x)
        s = w @ x
        along_u, along_w = u @ candidates.T, w @ candidates.T
        explained += (-2 * c)[:, None] * along_u * along_w + (c**2 * s)[:, None] * along_u**2
        variance -= c[:, None] * along_u**2
        outer = u[:, :, None] * w[:, None, :]
        squared = u[:, :, None] * u[:, None, :]
        a = a - c[:, None, None] * squared
        b = b - c[:, None, None] * (outer + outer.swapaxes(1, 2)) + (c**2 * s)[:, None, None] * squared
    return now.open[chosen]


def expected_squared_slopes(outputs: NDArray, rng: np.random.Generator) -> NDArray:
    """What votes say of each output, (galaxies, answers): the expected square of the loss's derivative."""
    alpha = concentrations_of(outputs)
    asked = np.rint(VOTES_EXPECTED * probability_asked(alpha, SCHEMA)).astype(int)
    total = np.zeros_like(alpha)
    for _ in range(DRAWS_OF_VOTES):
        votes = np.zeros_like(alpha)
        for place, part in enumerate(SCHEMA.question_slices):
            fractions = rng.gamma(alpha[:, part])
            votes[:, part] = rng.multinomial(
                asked[:, place], fractions / fractions.sum(axis=1, keepdims=True)
            )
        total += TreeHeadLoss(SCHEMA.question_slices)(outputs, votes)[1] ** 2
    return total / DRAWS_OF_VOTES


Choose = Callable[[Round, int], NDArray]

#: How the first 50 are chosen (None: at random, the same for all), and how those after.
WAYS: dict[str, tuple[Choose | None, Choose]] = {
    "random": (None, at_random),
    "bald": (None, by_bald("none")),
    "bald+kmeans++": (None, by_bald("kmeans++")),
    "bald+clusters": (None, by_bald("clusters")),
    "kmeans++": (None, by_kmeans),
    "random+clusters": (None, by_clusters),
    "clusters": (None, by_middles),
    "dense+clusters": (None, by_density),
    "gain": (None, by_gain),
    "random+clusters from the start": (by_clusters, by_clusters),
    "clusters from the start": (by_middles, by_middles),
    "dense+clusters from the start": (by_density, by_density),
    "first random+clusters, then gain": (by_clusters, by_gain),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--work", type=Path, required=True, help="folder for features and finished rounds")
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(8)))
    parser.add_argument("--draws", type=int, default=3, help="of random choice, whose mean is compared with")
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    parser.add_argument("--quick", action="store_true", help="a few galaxies, one seed: does it run at all?")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    budgets, scored = ((6, 9, 12), 8) if args.quick else (BUDGETS, SCORED)
    seeds = args.seeds[:1] if args.quick else args.seeds
    results = {}
    with threadpool_limits(1):
        for encoder in args.encoders:
            features, labels = encode(encoder, args)
            place = args.work / f"{encoder}.jsonl"
            for seed in seeds:
                play(features, labels, seed, args.ways, args.draws, budgets, scored, place)
            rows = pd.read_json(place, lines=True)
            results[encoder] = compare(rows[rows["seed"].isin(seeds)])
    print(markdown_table(results))
    if args.json:
        settings = {"scored": scored, "seeds": len(seeds), "draws": args.draws, "decay": DECAY}
        write_record(args.json, "choosing", settings, results, "numpy", "scipy", "scikit-learn")


def encode(encoder: str, args: argparse.Namespace) -> tuple[NDArray, NDArray]:
    """Features and votes of all galaxies, of an earlier run or made now."""
    place = args.work / f"{encoder}.npz"
    if not place.is_file():
        task = TASKS["votes"]
        parts = task.read(args.data)
        engine = load_engine(args.backend)
        model = engine.finetune.FinetuneableZoobotTree(
            name=encoder, schema=SCHEMA, preprocessing=task.preprocessing
        )
        found = [engine.represent.represent(part, model, progress=False) for part in parts.values()]
        rows = [dict(zip(part.ids, np.asarray(part.labels), strict=True)) for part in parts.values()]
        labels = [[own[galaxy] for galaxy in one.ids] for own, one in zip(rows, found, strict=True)]
        np.savez(
            place,
            features=np.concatenate([one.features for one in found]),
            labels=np.concatenate(labels),
        )
    with np.load(place) as kept:  # ours
        return kept["features"], kept["labels"]


def play(
    features: NDArray,
    labels: NDArray,
    seed: int,
    ways: list[str],
    draws: int,
    budgets: tuple[int, ...],
    scored: int,
    place: Path,
) -> None:
    """All ways of one seed; what is in the file already is not played again."""
    order = np.random.default_rng(seed).permutation(len(features))
    aside, pool = order[:scored], order[scored:]
    directions = fit_projection([features[pool]], components=64, at_most=True).apply(features[pool])
    shared = np.random.default_rng([seed, 1]).choice(len(pool), budgets[0], replace=False)
    done = set()
    if place.is_file():
        lines = [json.loads(line) for line in place.read_text().splitlines()]
        done = {(one["way"], one["seed"], one["draw"]) for one in lines}
    for way in ways:
        for draw in range(draws if way == "random" else 1):
            if (way, seed, draw) in done:
                continue
            rng = np.random.default_rng([seed, 2, draw])
            start, choose = WAYS[way]
            nothing = np.zeros(0)
            now = Round(features[pool], directions, labels[pool], shared[:0], nothing, nothing, rng)
            bought = shared if start is None else start(now, budgets[0])
            rows = []
            for budget, following in zip(budgets, (*budgets[1:], None), strict=True):
                head = fit(features[pool[bought]], labels[pool[bought]])
                scores = score(features[aside], labels[aside], head)
                votes = float(np.nansum(labels[pool[bought]]))
                facts = {"way": way, "seed": seed, "draw": draw, "labels": budget, "votes": votes}
                rows.append(json.dumps(facts | scores))
                if following is not None:
                    new = choose(
                        now._replace(bought=bought, weight=head[0], bias=head[1]), following - budget
                    )
                    bought = np.concatenate([bought, new])
            with place.open("a") as file:
                file.write("\n".join(rows) + "\n")


def fit(features: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
    """The head of these labels: weights and biases."""
    loss, start = TreeHeadLoss(SCHEMA.question_slices), np.full(len(SCHEMA.label_cols), -3.0)
    decay = DECAY / max(len(labels), LEAST_LABELS)
    return find_head(loss, (features, labels), decay, start=start, precision=PRECISION)


def concentrations_of(outputs: NDArray) -> NDArray:
    return defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE / (1 + np.exp(-outputs))


def concentrations(features: NDArray, head: tuple[NDArray, NDArray]) -> NDArray:
    return concentrations_of(features @ head[0].T + head[1])


def score(features: NDArray, labels: NDArray, head: tuple[NDArray, NDArray]) -> dict[str, float]:
    """Nats a galaxy, of the whole tree and of questions that few are asked."""
    losses = dirichlet_multinomial_nll(concentrations(features, head), labels, SCHEMA.question_slices)
    by_question = dict(zip([q.text for q in SCHEMA.questions], losses.mean(axis=0), strict=True))
    rare = {name: next(v for text, v in by_question.items() if text.startswith(name)) for name in RARE}
    return {"nll": float(losses.sum(axis=1).mean()), **{name: float(v) for name, v in rare.items()}}


def compare(rows: pd.DataFrame) -> dict[str, Any]:
    """By way and number of labels: the mean of each score, and its difference to random choice by pairs."""
    means = rows.groupby(["way", "labels", "seed"])[[*SCORES, "votes"]].mean()
    found: dict[str, Any] = {}
    for way in [name for name in WAYS if name in set(rows["way"])]:
        found[way] = {}
        for budget, all_seeds in means.loc[way].groupby("labels"):
            pairs = (all_seeds - means.loc["random"]).dropna()
            own = all_seeds.loc[pairs.index]
            found[way][str(budget)] = {
                "seeds": len(pairs),
                "votes": round(float(own["votes"].mean() / float(str(budget))), 1),
            } | {
                name: {
                    "mean": round(float(own[name].mean()), 4),
                    "to_random": round(float(pairs[name].mean()), 4),
                    "standard_error": round(float(pairs[name].std() / np.sqrt(len(pairs))), 4)
                    if len(pairs) > 1
                    else None,
                }
                for name in SCORES
            }
    return found


def markdown_table(results: dict[str, Any]) -> str:
    """A row for each way: nats a galaxy by number of labels for random choice, for others the difference."""
    lines = []
    for encoder, ways in results.items():
        budgets = list(ways["random"])
        lines += [f"| {encoder} | {' | '.join(budgets)} |", f"|---|{'---|' * len(budgets)}"]
        for way, by_budget in ways.items():
            cells = []
            for budget in budgets:
                one = by_budget[budget]["nll"]
                error = one["standard_error"]
                difference = f"{one['to_random']:+.2f}" + ("" if error is None else f" ± {error:.2f}")
                cells.append(f"{one['mean']:.2f}" if way == "random" else difference)
            lines.append(f"| {way} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
