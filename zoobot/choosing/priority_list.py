"""The list of galaxies to label next, on disk: CSV to look at, JSON for a platform of volunteers.

CSV has a row for each galaxy, the first first. JSON has the same as `subjects`, each with `subject_id`,
`image`, `priority` (1 is the first), `score`, `reason`, `expected`, `distance`, `cost`, and the `questions`
that are worth asking, each with its `share` of the score and, in a tree, how likely it is `asked`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.choosing.acquisition import Acquisition
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import write_safely
from zoobot.shared.posteriors import probability_asked
from zoobot.shared.tables.destination import free_list
from zoobot.shared.tasks import Group, Task
from zoobot.shared.votes import FloatArray
from zoobot.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

# Why a galaxy is worth its label, in words and numbers: what matters most, and what the model expects.

_MOST_CLASSES = 3

#: A question that gives a smaller part of a galaxy's score is not named beside the others.
_LEAST_SHARE = 0.05


def explain(task: Task, found: Acquisition, predictions: FloatArray) -> tuple[list[str], list[str]]:
    """For each galaxy what matters most, and what the model expects of it.

    Args:
        task: What was predicted.
        found: The scores of the same galaxies.
        predictions: (samples, galaxies, outputs).

    Returns:
        Of a tree the question, and the expected fractions of its answers; of classes the likeliest, two by
        two, and their probabilities; of labels and numbers the column, and its probability, or its value with
        the scatter of the members. Of random scores, which have no reason, "random" and what would stand
        beside the first part.
    """
    parts = found.parts.argmax(axis=1)
    mean = predictions.mean(axis=0)
    if task.predicts == "classes":
        reasons, expected = _of_classes(task.groups[0].answers, mean)
        return (reasons if found.names != ("random",) else found.reasons), expected
    expected_of = _EXPECTED[task.predicts]
    means, scatter = task.expect(task.mix(predictions)), predictions.std(axis=0)
    groups = [task.groups[part] for part in parts]
    return found.reasons, [
        expected_of(group, means[galaxy, group.slice], scatter[galaxy, group.slice])
        for galaxy, group in enumerate(groups)
    ]


_EXPECTED: dict[str, Callable[[Group, FloatArray, FloatArray], str]] = {
    "votes": lambda group, mean, _: _listed(list(zip(group.answers, mean, strict=True))),
    "numbers": lambda _, mean, scatter: f"{mean[0]:.3g} ± {scatter[0]:.2g}",
    "labels": lambda _, mean, __: f"{mean[0]:.2f}",
}


def worth_asking(task: Task, found: Acquisition, predictions: FloatArray) -> list[list[dict[str, Any]]]:
    """For each galaxy the parts that give at least 5 % of its score, the first first, JSON-ready.

    Args:
        task: What was predicted.
        found: The scores of the same galaxies.
        predictions: (samples, galaxies, outputs).

    Returns:
        Of each part `question` (or label, or target), `share` of the score, and of a tree `asked`, the
        probability that a volunteer comes to it. Nothing for a random score, or where there is one part.
    """
    if task.predicts == "classes":
        return [[] for _ in found.score]
    if found.names == ("random",):
        return [[] for _ in found.score]
    asked = None if task.tree is None else probability_asked(predictions, task.tree)
    named = []
    for galaxy, parts in enumerate(found.parts):
        total = parts.sum()
        shares = parts / total if total > 0 else np.zeros(len(parts))
        order = [place for place in np.argsort(-shares, kind="stable") if shares[place] >= _LEAST_SHARE]
        rows = [{"question": found.names[p], "share": round(float(shares[p]), 3)} for p in order]
        if asked is not None:
            rows = [
                row | {"asked": round(float(asked[galaxy, place]), 3)}
                for row, place in zip(rows, order, strict=True)
            ]
        named.append(rows)
    return named


def _of_classes(names: Sequence[str], mean: FloatArray) -> tuple[list[str], list[str]]:
    order = np.argsort(-mean, axis=1, kind="stable")
    reasons = [" or ".join(names[k] for k in row[:2]) for row in order]
    expected = [
        _listed([(names[k], p[k]) for k in row[:_MOST_CLASSES]]) for p, row in zip(mean, order, strict=True)
    ]
    return reasons, expected


def _listed(pairs: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in pairs)


#: rank from 1; score as `acquisition` gives it; distance of features to the nearest galaxy labelled, or
#: chosen before; cost of the label.
COLUMNS = ("rank", "id_str", "file_loc", "score", "reason", "expected", "distance", "cost")


def check_list_place(save_loc: str | Path, *, overwrite: bool) -> Path:
    """Where a list goes, once found to be possible; call it before work.

    Raises:
        ConfigError: If the name ends in neither .csv nor .json, or is taken.
    """
    path = free_list(save_loc, (".csv", ".json"), overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"can't make the folder {path.parent}: {error.strerror or error}") from error
    return path


def write_list(
    path: Path,
    table: pd.DataFrame,
    questions: Sequence[Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any],
) -> None:
    """Write the list, whole or not at all.

    Args:
        path: .csv or .json.
        table: `COLUMNS`, a row for each galaxy, in order.
        questions: For each galaxy, what is worth asking; only JSON has room for it.
        facts: Where the list comes from, JSON-ready; only JSON has room for it.
    """
    if path.suffix.lower() == ".csv":
        text = csv_text(table)
    else:
        subjects = [
            _subject(row, asked) for row, asked in zip(table.to_dict("records"), questions, strict=True)
        ]
        content = {"zoobot": __version__, **facts, "subjects": subjects}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_safely(path, text)


def _subject(row: Mapping[Any, Any], questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    distance = row["distance"]
    return {
        "subject_id": row["id_str"],
        "image": row["file_loc"],
        "priority": int(row["rank"]),
        "score": float(row["score"]),
        "reason": row["reason"],
        "expected": row["expected"],
        "distance": None if distance != distance else float(distance),
        "cost": float(row["cost"]),
        "questions": [dict(one) for one in questions],
    }
