"""One play of a simulated loop: a strategy buys labels round by round, and a head learns from them.

Everything drawn depends on the seed and the round alone, and a head on its labels and its weight decay, so a
play that was killed goes on from its record as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.choosing.label_strategies import next_galaxies
from zoobot.shared.choosing.strategy_names import read_strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.config import LoopOptions
    from zoobot.shared.engine import Engine
    from zoobot.workflow.known_galaxies import KnownGalaxies

__all__ = ["Round", "play"]

#: JSON-ready: `labels` (bought so far), `bought` (ids, in this round), `decay`, and `scores` by name.
Round = dict[str, Any]


def play(
    engine: Engine,
    model: Any,
    pool: KnownGalaxies,
    held_out: KnownGalaxies,
    options: LoopOptions,
    *,
    strategy: str,
    seed: int,
    before: Sequence[Round] = (),
) -> Iterator[Round]:
    """Buy labels and learn, round by round; round 0 is the random start, which all strategies share.

    Args:
        engine: The engine of the model.
        model: Its head is fitted anew in each round.
        pool: Galaxies whose labels can be bought.
        held_out: Galaxies that are scored on.
        options: How many rounds, labels, members and volunteers.
        strategy: How galaxies are chosen.
        seed: Of the start and of everything drawn.
        before: Rounds that were played already.

    Yields:
        What came out of each further round.
    """
    row = {galaxy: row for row, galaxy in enumerate(pool.ids)}
    bought = [row[galaxy] for one in before for galaxy in one["bought"]]
    decay = before[-1]["decay"] if before else None
    for number in range(len(before), options.rounds + 1):
        if number == 0:
            new = np.random.default_rng([seed, 0]).permutation(len(pool.ids))[: options.start].tolist()
        else:
            new = _buy(engine, model, pool, np.array(bought), decay, options, strategy, [seed, number])
        bought += new
        known = pool.select(np.array(bought))
        decay = engine.represent.fit_head(known.features, known.labels, model, seed=seed)
        predicted = engine.represent.predict_features(held_out.features, model)[0]
        scores = {n: float(v) for n, v in model.task.metrics(predicted, held_out.labels).items()}
        yield {
            "labels": len(bought),
            "bought": [pool.ids[one] for one in new],
            "decay": decay,
            "scores": {name: value if np.isfinite(value) else None for name, value in scores.items()},
        }


def _buy(
    engine: Engine,
    model: Any,
    pool: KnownGalaxies,
    bought: NDArray[np.int64],
    decay: float | None,
    options: LoopOptions,
    name: str,
    seeds: list[int],
) -> list[int]:
    """The rows of the pool that a strategy chooses next."""
    strategy = read_strategy(name, model.task.kind)
    is_open = np.ones(len(pool.ids), bool)
    is_open[bought] = False
    rows = np.flatnonzero(is_open)
    known = pool.select(bought)
    predictions = None
    if strategy.needs_predictions:
        predictions = _members(engine, model, known, pool.features[rows], decay, options, seeds)
    chosen = next_galaxies(
        strategy,
        model.task,
        options.per_round,
        features=pool.features[rows],
        labelled=known.features,
        predictions=predictions,
        n_volunteers=options.volunteers,
        seed=int(np.random.SeedSequence(seeds).generate_state(1)[0]),
    )
    return rows[chosen.rows].tolist()


def _members(
    engine: Engine,
    model: Any,
    known: KnownGalaxies,
    features: NDArray[np.float32],
    decay: float | None,
    options: LoopOptions,
    seeds: list[int],
) -> NDArray[np.float32]:
    """What members that learned from the labels so far predict: (members, galaxies, outputs)."""
    if options.member_kind == "dropout":
        engine.represent.fit_head(known.features, known.labels, model, decay=decay)
        seed = int(np.random.SeedSequence([*seeds, 1]).generate_state(1)[0])
        return engine.represent.predict_features(features, model, n_samples=options.members, seed=seed)
    predicted = []
    for member in range(options.members):
        drawn = np.random.default_rng([*seeds, member]).integers(0, len(known.ids), len(known.ids))
        sample = known.select(drawn)
        engine.represent.fit_head(sample.features, sample.labels, model, decay=decay)
        predicted.append(engine.represent.predict_features(features, model)[0])
    return np.stack(predicted)
