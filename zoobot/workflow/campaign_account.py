"""What came of a campaign: the scores of all rounds on the same galaxies, their curve, where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot import plots
from zoobot.shared import tasks
from zoobot.shared.metrics import score_once
from zoobot.shared.predictions import read_prediction_metadata, read_samples
from zoobot.shared.tasks import KINDS
from zoobot.workflow.comparing import compare_scores
from zoobot.workflow.galaxies import labelled_for
from zoobot.workflow.reporting import Reported, quoted
from zoobot.workflow.scores import every_scorer
from zoobot.zooniverse import manifests
from zoobot.zooniverse.campaign_folder import TREE, Round

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoobot.options.campaign import CampaignOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.tasks import Task
    from zoobot.workflow.comparing import Comparison


# What each round taught, on the same galaxies.


class Scored(NamedTuple):
    """How the models of all rounds do on the galaxies that are set aside.

    Attributes:
        galaxies: How many of them have votes and a prediction of every round.
        now: The main score of each round's model by the votes there are now, by the round's number.
        name: What that score is.
        comparison: Of the last model with the one before; None of the first.
    """

    galaxies: int
    now: dict[int, float]
    name: str
    comparison: Comparison | None = None


def score_rounds(rounds: Sequence[Round], held_out: Catalog, options: CampaignOptions) -> Scored:
    """Score what each round's model predicted of the galaxies that are set aside, by their votes of now.

    Args:
        rounds: Those that have learned, in order.
        held_out: The galaxies, with votes.
        options: The task, and how intervals of scores are found.
    """
    name = KINDS[options.kind].main_score
    told = [_read_held_out(one) for one in rounds]
    common = set(held_out.ids).intersection(*(set(found) for _, found in told))
    if not common:
        return Scored(0, {}, name)
    task = told[-1][0]
    galaxies = held_out.select([row for row, galaxy in enumerate(held_out.ids) if galaxy in common])
    galaxies = labelled_for(task, galaxies)
    scorers = [
        every_scorer(task, np.stack([found[galaxy] for galaxy in galaxies.ids]), np.asarray(galaxies.labels))
        for _, found in told
    ]
    now = {
        one.number: score_once(scorer, len(galaxies)).get(name, np.nan)
        for one, scorer in zip(rounds, scorers, strict=True)
    }
    if len(rounds) == 1:
        return Scored(len(galaxies), now, name)
    names = (f"round {rounds[-1].number}", f"round {rounds[-2].number}")
    compared = compare_scores(names, [scorers[-1], scorers[-2]], galaxies, options)
    return Scored(len(galaxies), now, name, compared)


def _read_held_out(one: Round) -> tuple[Task, dict[str, np.ndarray]]:
    """What a round's model predicted, by galaxy."""
    task = tasks.from_config(read_prediction_metadata(one.held_out)["task"])
    found: dict[str, np.ndarray] = {}
    for ids, values in read_samples(one.held_out, task.output_columns):
        found |= dict(zip(ids, task.mix(values), strict=True))
    return task, found


def describe_scores(scored: Scored, number: int) -> dict[str, Any]:
    """What the record says of the scores, before this round and after it, JSON-ready."""
    now = {str(place): _finite(value) for place, value in scored.now.items()}
    found: dict[str, Any] = {
        "held_out": scored.galaxies,
        "score": scored.name,
        "before": None,
        "after": now.get(str(number)),
        "now": now,
    }
    if scored.comparison is not None:
        ends = scored.comparison.intervals.of(scored.name)
        found["before"] = _finite(scored.comparison.scores[scored.name][1])
        found["difference"] = _finite(scored.comparison.differences[scored.name])
        found["interval"] = None if ends is None else [ends.low, ends.high]
        found["verdict"] = scored.comparison.verdict(scored.name)
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


_NUMBERS = ("classifications", "answered", "retired", "learned_from", "validated", "held_out")
_SCORES = ("before", "after", "difference", "low", "high")


def curves_of(entries: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each round, as rounds.csv has it; `now` is each model's score by the votes of now."""
    rows = []
    for entry in entries:
        low, high = entry.get("interval") or (None, None)
        facts = {**entry, "low": low, "high": high}
        row: dict[str, Any] = {name: facts[name] for name in ("round", "asked", "by")}
        row |= {name: int(facts.get(name) or 0) for name in _NUMBERS}
        row["score"] = facts.get("score") or ""
        row |= {name: np.nan if facts.get(name) is None else float(facts[name]) for name in _SCORES}
        row["verdict"] = facts.get("verdict") or ""
        row["now"] = np.nan if facts.get("now") is None else float(facts["now"])
        rows.append(row)
    return pd.DataFrame(rows)


def pictures_of(entries: list[dict[str, Any]]) -> dict[str, Callable[..., Figure]]:
    """What draws the curve of the rounds, where there is one."""
    curves = curves_of(entries)
    curves = curves[np.isfinite(curves["now"])]
    if curves.empty:
        return {}
    score = str(curves["score"].iloc[-1])
    shown = pd.DataFrame({"strategy": "this campaign", "seed": 0, "labels": curves["learned_from"]})
    title = f"{int(curves['held_out'].iloc[-1]):,} galaxies set aside"
    return {"rounds": partial(plots.label_curves, {title: (shown.assign(**{score: curves["now"]}), score)})}


def words_to_click(asked: Path, options: CampaignOptions) -> str:
    """The command that makes a page to label a list with, if no platform asks and a page can."""
    if options.platform is not None:
        return ""
    words = f"zoobot explore {quoted(asked)} --annotate"
    if options.kind == "tree":
        return f"{words} tree --schema {quoted(asked.parents[1] / TREE)}"
    if options.kind == "classification" and options.class_names is not None:
        classes = " ".join(map(quoted, options.class_names))
        return f"{words} classes --classes {classes} --label-col {quoted(options.labels[0])}"
    return ""


@dataclass(frozen=True, kw_only=True, repr=False)
class CampaignResult(Reported):
    """Where a campaign stands.

    Args:
        folder: Its folder.
        round: The last round that is over.
        table: The galaxies to ask about: the list of that round.
        curves: A row for each round: what was asked, and what it taught.
        asked: How many galaxies were asked about so far.
        answered: How many of all galaxies had votes when the round began.
        retired: How many of these nobody is asked about any more.
        is_under_way: Whether a further round was begun and is not over.
        place: The folder as it was given.
        pictures: What draws each picture, by the name of its file.
        clicking: The command that makes a page to label the list by clicking; empty where there is none.
    """

    folder: Path
    round: int
    table: pd.DataFrame
    curves: pd.DataFrame
    asked: int
    answered: int
    retired: int
    is_under_way: bool
    place: str
    pictures: Mapping[str, Callable[..., Figure]]
    clicking: str = ""

    def report(self) -> str:
        """What came out, as a text to read."""
        last = Round.of(self.folder, self.round)
        now = self.curves.iloc[-1]
        lines = [
            f"round {self.round} of {self.folder}: {len(self.table):,} galaxies to ask about, by {now.by}",
            f"  so far {self.asked:,} were asked about; {self.answered:,} had answers when the round began, "
            f"{self.retired:,} of them retired",
        ]
        if self.round > 1:
            lines.append(f"  it learned from {int(now.learned_from):,} galaxies; {_said(now)}")
        lines.append(f"  {last.asked}: the list")
        upload = manifests.folder_of(last.asked)
        if upload.is_dir():
            lines.append(f"  {upload}: ready to upload, with {manifests.MANIFEST}")
        here = quoted(self.place)
        if self.is_under_way:
            return "\n".join(
                [*lines, f"Round {self.round + 1} is under way; go on:", f"  zoobot campaign {here} --next"]
            )
        following = "Next: what was answered"
        if not len(self.table):
            following = "No galaxy is left to ask about. Further answers can still teach:"
        elif self.clicking:
            following = f"Next: label them, in any table or by clicking\n  {self.clicking}"
        return "\n".join([*lines, following, f"  zoobot campaign {here} --next --votes ANSWERS.csv"])


def _said(row: Any) -> str:
    score = str(row.score)
    if not np.isfinite(row.after):
        return "no galaxy that is set aside for scores has votes yet"
    words = f"{score.replace('_', ' ')} of the same {int(row.held_out):,} galaxies set aside: {row.after:.4g}"
    if not np.isfinite(row.before):
        return words
    ends = f", {row.low:+.3g} to {row.high:+.3g}" if np.isfinite(row.low) else ""
    return f"{words}, before {row.before:.4g} ({row.difference:+.3g}{ends}: {row.verdict})"
