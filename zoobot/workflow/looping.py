"""The guided simulation of a loop: which way of choosing galaxies needs the fewest labels?

Labels that are known already are revealed round by round. Galaxies are encoded once; in each round a head
learns from those revealed so far (its exact optimum), is scored on galaxies kept aside, and the strategy
chooses what to reveal next. A killed run goes on after its last round.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared import plots
from zoobot.shared.choosing.label_curves import MAIN_SCORES, savings
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.safe import write_safely
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.training.targets import usable_targets
from zoobot.workflow.building import build_model, read_labelled
from zoobot.workflow.known_galaxies import encode_known, split_held_out
from zoobot.workflow.loop_rounds import Round, play
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.prediction import save_failures
from zoobot.workflow.resuming import check_same_data, encoder_hash, unfinished_run
from zoobot.workflow.run_folder import check_run_folder, open_run
from zoobot.workflow.score_table import aligned

if TYPE_CHECKING:
    from zoobot.shared.config import LoopOptions

__all__ = ["LoopResult", "loop"]

logger = logging.getLogger("zoobot")


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """What a simulated loop found.

    Args:
        save_dir: The run's folder.
        score: The score that the curves show.
        curves: A row for each strategy, seed and round: `labels`, `decay` and every score.
        savings: What each strategy needs for what random choice reaches in the end: see
            `zoobot.shared.choosing.label_curves.savings`; empty where random was not played.
        table: The same as a text to read.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        seconds: How long it took.
    """

    save_dir: Path
    score: str
    curves: pd.DataFrame
    savings: dict[str, dict[str, Any]]
    table: str
    failures: pd.DataFrame
    seconds: float


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
    if options.kind == "regression":
        galaxies = usable_targets(
            {"catalog": galaxies},
            missing_values=options.missing_values,
            suspect_targets=options.suspect_targets,
        )["catalog"]
    is_held_out = split_held_out(galaxies, options)
    engine = load_engine(options.backend)
    model = build_model(engine, options.finetune_options(), labelled)
    model.task = model.task.bind(labelled.label_cols)
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
        score = options.score or MAIN_SCORES[model.task.kind]
        curves = plays.curves()
        found = _leave_results(curves, score, folder)
        record.update(score=score, savings=found)
    return LoopResult(
        save_dir=folder,
        score=score,
        curves=curves,
        savings=found,
        table=_table(found, curves, score),
        failures=failures,
        seconds=time.monotonic() - started,
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
        score = self._options.score or MAIN_SCORES[self._options.kind]
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
    score = options.score or MAIN_SCORES[kind]
    if one["scores"].get(score) is None:
        known = [name for name, value in one["scores"].items() if value is not None]
        msg = f"--score must be a score of the held-out galaxies, one of {known}; got {score!r}"
        raise ConfigError(msg)


def _leave_results(curves: pd.DataFrame, score: str, folder: Path) -> dict[str, dict[str, Any]]:
    write_safely(folder / "curves.csv", csv_text(curves))
    panels = {score.replace("_", " "): (curves, score)}
    attempt_picture(plots.label_curves, panels, folder / "curves.png")
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
