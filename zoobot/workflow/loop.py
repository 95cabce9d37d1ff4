"""The guided simulation of a loop: which way of choosing galaxies needs the fewest labels?

Labels that are known already are revealed round by round. Galaxies are encoded once; in each round a head
learns from those revealed so far (its exact optimum), is scored on galaxies kept aside, and the strategy
chooses what to reveal next. A killed run goes on after its last round.
"""

from __future__ import annotations

import json
import logging
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot import plots
from zoobot.choosing.label_curves import next_galaxies, savings
from zoobot.choosing.strategy_names import read_strategy
from zoobot.shared.catalog import Catalog
from zoobot.shared.counting_bar import duration
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import replacing, write_safely
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.tasks import KINDS
from zoobot.shared.training.targets import usable_targets
from zoobot.workflow.building import build_model, read_labelled
from zoobot.workflow.galaxies import select_galaxies
from zoobot.workflow.members import represent_galaxies
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.predict import save_failures
from zoobot.workflow.reporting import Reported, failure_lines
from zoobot.workflow.run_folder import (
    check_run_folder,
    check_same_data,
    encoder_hash,
    open_run,
    unfinished_run,
)
from zoobot.workflow.scores import aligned

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from zoobot.options.loop import LoopOptions
    from zoobot.shared.engine import Engine, Model

# Galaxies whose labels are known, encoded once, for loops that pretend not to know them yet.

logger = logging.getLogger("zoobot")


class KnownGalaxies(NamedTuple):
    """Some galaxies with features and labels.

    Attributes:
        ids: Their names.
        features: (galaxies, features), float32.
        labels: (galaxies, label columns).
    """

    ids: list[str]
    features: NDArray[np.float32]
    labels: NDArray[np.float64]

    def select(self, rows: NDArray) -> KnownGalaxies:
        """Some of them, in the order asked for."""
        return KnownGalaxies([self.ids[row] for row in rows], self.features[rows], self.labels[rows])


def split_held_out(galaxies: Catalog, options: LoopOptions) -> NDArray[np.bool_]:
    """Which galaxies are scored on and never learned from, (galaxies,).

    Raises:
        CatalogError: If no galaxy has the value of --held-out, or too few are left to choose from.
    """
    if options.held_out is not None:
        chosen = set(select_galaxies(galaxies, options.held_out).ids)
        held_out = np.array([galaxy in chosen for galaxy in galaxies.ids])
    else:
        order = np.random.default_rng(options.seed).permutation(len(galaxies))
        held_out = np.zeros(len(galaxies), bool)
        held_out[order[: max(1, round(options.held_out_fraction * len(galaxies)))]] = True
    left, wanted = int((~held_out).sum()), options.start + options.rounds * options.per_round
    if left < wanted:
        raise CatalogError(
            f"the loop would label {wanted:,} galaxies (start + rounds * per_round), but {galaxies.name} has "
            f"{left:,} that are not held out"
        )
    return held_out


def encode_known(
    engine: Engine, model: Model, galaxies: Catalog, options: LoopOptions, folder: Path
) -> tuple[KnownGalaxies, pd.DataFrame]:
    """The galaxies with features, encoded now, or by the run that is resumed; and those that can't be read.

    Args:
        engine: The engine of the model.
        model: Its encoder is used.
        galaxies: With labels.
        options: Batch size, threads, progress.
        folder: Where features are kept, as features.npz.
    """
    place = folder / "features.npz"
    if options.resume and place.is_file():
        ids, features = read_known(place, galaxies.ids)
        failures = pd.DataFrame(columns=["id_str", "file_loc", "reason"])
    else:
        logger.info("Encoding %s galaxies of %s, once for all", f"{len(galaxies):,}", galaxies.name)
        tell_pixels(model)
        encoded = represent_galaxies(engine, model, galaxies, options)
        ids, features, failures = encoded.ids, encoded.features, encoded.failures
        with replacing(place) as draft, draft.open("wb") as file:
            np.savez(file, ids=np.array(ids), features=features)
    row = {galaxy: row for row, galaxy in enumerate(galaxies.ids)}
    labels = np.asarray(galaxies.labels)[[row[galaxy] for galaxy in ids]]
    return KnownGalaxies(ids, features, labels), failures


def read_known(place: Path, known: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
    """The galaxies and their features in a file that `encode_known` wrote.

    Args:
        place: The file.
        known: The galaxies of the catalog.

    Raises:
        ConfigError: If it is damaged, was not written by it, or is of other galaxies.
    """
    try:
        with zipfile.ZipFile(place) as archive:
            is_packed = any(member.compress_type for member in archive.infolist())
        with np.load(place) as kept:  # ours are as large as what they hold
            arrays = [] if is_packed else [kept["ids"], kept["features"]]
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, SyntaxError) as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{place} is damaged ({reason}): start the run anew, with overwrite") from error
    if not arrays or not _are_features(arrays[0], arrays[1], known):
        raise ConfigError(f"{place} holds no features of these galaxies: start the run anew, with overwrite")
    return arrays[0].tolist(), arrays[1]


def _are_features(ids: NDArray, features: NDArray, known: Sequence[str]) -> bool:
    is_shaped = features.ndim == 2 and features.shape[:1] == ids.shape and features.dtype == np.float32
    return is_shaped and ids.dtype.kind == "U" and len(set(ids.tolist()) & set(known)) == len(ids)


# One play of a simulated loop: a strategy buys labels round by round, and a head learns from them.
#
# Everything drawn depends on the seed and the round alone, and a head on its labels and its weight decay,
# so a play that was killed goes on from its record as if nothing had happened.

#: JSON-ready: `labels` (bought so far), `bought` (ids, in this round), `decay`, and `scores` by name.
Round = dict[str, Any]


def play(
    engine: Engine,
    model: Model,
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
    model: Model,
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
    model: Model,
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


@dataclass(frozen=True, kw_only=True, repr=False)
class LoopResult(Reported):
    """What a simulated loop found.

    Args:
        save_dir: The run's folder.
        score: The score that the curves show.
        curves: A row for each strategy, seed and round: `labels`, `decay` and every score.
        savings: What each strategy needs for what random choice reaches in the end: see
            `zoobot.choosing.label_curves.savings`; empty where random was not played.
        table: The same as a text to read.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        seconds: How long it took.
        figures: What the picture of the curves is written as.
    """

    save_dir: Path
    score: str
    curves: pd.DataFrame
    savings: dict[str, dict[str, Any]]
    table: str
    failures: pd.DataFrame
    seconds: float
    figures: tuple[str, ...] = ("png",)

    @property
    def pictures(self) -> dict[str, Callable[..., Figure]]:
        """What draws each picture, by the name of its file."""
        return {"curves": partial(plots.label_curves, _panels(self.curves, self.score))}

    def report(self) -> str:
        """What came out, as a text to read."""
        folder = self.save_dir
        pictures = ", ".join(f"curves.{kind}" for kind in self.figures)
        return "\n".join(
            [
                "",
                self.table,
                "",
                *failure_lines(self.failures, folder / "failures.csv"),
                f"Done in {duration(self.seconds)}. In {folder}:",
                "  curves.csv            all scores of all rounds",
                f"  {pictures:<20}  the score against labels bought",
                "  savings.json          the table above",
                "  rounds.json           which galaxies were bought when",
            ]
        )


def loop(options: LoopOptions, *, command: str = "zoobot.workflow.loop") -> LoopResult:
    """Play strategies of choosing galaxies against each other, on labels that are known already.

    The folder gets `curves.csv`, `curves.png`, `savings.json`, `rounds.json` (what was bought when),
    `features.npz`, `failures.csv` if an image failed, and `run.json`.

    Args:
        options: Everything that can be chosen. With `resume`, an unfinished run in `save_dir` goes on.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: Before work, for anything that can be known before.
    """
    started = time.monotonic()
    folder = Path(options.save_dir).expanduser()
    check_run_folder(folder, "loop", resume=options.resume, overwrite=options.overwrite)
    before = unfinished_run("loop", options, folder) if options.resume else None
    labelled = read_labelled(options.finetune_options())
    galaxies = labelled.catalogs["train"]
    if labelled.task.predicts == "numbers":
        galaxies = usable_targets(
            {"catalog": galaxies},
            missing_values=options.missing_values,
            suspect_targets=options.suspect_targets,
        )["catalog"]
    is_held_out = split_held_out(galaxies, options)
    engine = load_engine(options.backend)
    model = build_model(engine, options.finetune_options(), labelled)
    model.task = model.task.bind(labelled.task.label_cols)
    model.task.check_labels(np.asarray(galaxies.labels), galaxies.ids)
    facts = galaxies.describe()
    if before is not None:
        check_same_data(before, {"catalog": facts})
    record = open_run(
        folder, "loop", options, command=command, resume=options.resume, encoder_sha256=encoder_hash(options)
    )
    with record.running():
        record.update(data={"catalog": facts}, held_out=int(is_held_out.sum()))
        known, failures = encode_known(engine, model, galaxies, options, folder)
        if len(failures):
            save_failures(failures, folder / "failures.csv")
        aside = dict(zip(galaxies.ids, is_held_out, strict=True))
        kept = np.array([aside[galaxy] for galaxy in known.ids])
        pool, held_out = known.select(np.flatnonzero(~kept)), known.select(np.flatnonzero(kept))
        plays = _Plays(folder / "rounds.json", options)
        for strategy, seed in plays.open():
            rounds = list(plays.rounds(strategy, seed))
            for one in play(
                engine, model, pool, held_out, options, strategy=strategy, seed=seed, before=rounds
            ):
                _check_score(options, model.task.kind, one)
                plays.add(strategy, seed, one)
        score = options.score or KINDS[model.task.kind].main_score
        curves = plays.curves()
        found = _leave_results(curves, score, folder, options.figures)
        record.update(score=score, savings=found)
    return LoopResult(
        save_dir=folder,
        score=score,
        curves=curves,
        savings=found,
        table=_table(found, curves, score),
        failures=failures,
        seconds=time.monotonic() - started,
        figures=options.figures,
    )


class _Plays:
    """The rounds of every strategy and seed, kept in a file that is rewritten whole after each.

    Args:
        path: The file; what it holds already is gone on from.
        options: Which strategies and seeds.
    """

    def __init__(self, path: Path, options: LoopOptions) -> None:
        self._path = path
        self._options = options
        self._played: dict[str, list[Round]] = {}
        if path.is_file():
            self._played = json.loads(path.read_text(encoding="utf-8"))

    def open(self) -> list[tuple[str, int]]:
        """Strategies and seeds whose last round is still to come: seed by seed, so that curves grow alike."""
        pairs = [(strategy, seed) for seed in self._options.seeds for strategy in self._options.strategies]
        return [pair for pair in pairs if len(self.rounds(*pair)) <= self._options.rounds]

    def rounds(self, strategy: str, seed: int) -> list[Round]:
        """What was played of one, to go on from; the start of another strategy with this seed is the same."""
        own = self._played.get(f"{strategy} {seed}")
        if own is not None:
            return own
        starts = [self._played.get(f"{other} {seed}", [])[:1] for other in self._options.strategies]
        shared = next((start for start in starts if start), [])
        if shared:
            self._played[f"{strategy} {seed}"] = list(shared)
        return list(shared)

    def add(self, strategy: str, seed: int, one: Round) -> None:
        self._played.setdefault(f"{strategy} {seed}", []).append(one)
        write_safely(self._path, json.dumps(self._played) + "\n")
        score = self._options.score or KINDS[self._options.kind].main_score
        logger.info(
            "%s, seed %d: %d labels, %s %.4g", strategy, seed, one["labels"], score, one["scores"][score]
        )

    def curves(self) -> pd.DataFrame:
        """A row for each strategy, seed and round."""
        rows = []
        for strategy in self._options.strategies:
            for seed in self._options.seeds:
                for number, one in enumerate(self.rounds(strategy, seed)):
                    facts = {"strategy": strategy, "seed": seed, "round": number, "labels": one["labels"]}
                    rows.append(facts | {"decay": one["decay"]} | one["scores"])
        return pd.DataFrame(rows)


def _check_score(options: LoopOptions, kind: str, one: Round) -> None:
    """Raise at the first round, not after the last, where the score to show is none."""
    score = options.score or KINDS[kind].main_score
    if one["scores"].get(score) is None:
        known = [name for name, value in one["scores"].items() if value is not None]
        raise ConfigError(f"--score must be a score of the held-out galaxies, one of {known}; got {score!r}")


def _panels(curves: pd.DataFrame, score: str) -> dict[str, tuple[pd.DataFrame, str]]:
    return {score.replace("_", " "): (curves, score)}


def _leave_results(
    curves: pd.DataFrame, score: str, folder: Path, formats: Sequence[str]
) -> dict[str, dict[str, Any]]:
    write_safely(folder / "curves.csv", csv_text(curves))
    attempt_picture(folder / "curves", formats, plots.label_curves, _panels(curves, score))
    found = savings(curves, score) if "random" in set(curves["strategy"]) else {}
    content = {"score": score, "reference": "random", "strategies": found}
    write_safely(folder / "savings.json", json.dumps(content, indent=2) + "\n")
    return found


def _table(found: Mapping[str, Mapping[str, Any]], curves: pd.DataFrame, score: str) -> str:
    """A row for each strategy: what it reached, and the labels it took for what random choice reached."""
    last = curves[curves["labels"] == curves["labels"].max()]
    seeds = curves["seed"].nunique()
    rows = [["strategy", score, "lowest", "highest", "labels for random's", "share"]]
    for name, own in last.groupby("strategy", sort=False):
        saving = found.get(str(name), {})
        needed, share = saving.get("labels_to_match"), saving.get("share")
        cells = [f"{value:.4g}" for value in (own[score].mean(), own[score].min(), own[score].max())]
        words = ["–" if needed is None else f"{needed:.0f}", "–" if share is None else f"{share:.0%}"]
        rows.append([str(name), *cells, *words])
    heading = f"After {int(curves['labels'].max()):,} labels, {seeds} seed{'s' if seeds > 1 else ''}"
    return "\n".join([heading, "", *aligned(rows)])
