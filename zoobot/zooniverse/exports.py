"""What volunteers answered, from the files that the Zooniverse gives its projects, as votes for each subject.

Three kinds are read: the export of classifications (a row for each volunteer and subject), what
`panoptes_aggregation reduce` makes of it (a row for each subject and task), and Caesar's reductions (CSV, or
JSON as it is posted). References: https://help.zooniverse.org/next-steps/data-exports/ and
https://aggregation-caesar.zooniverse.org/docs.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.catalogs.delimited import open_unpacked
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import has_compression, readable
from zoobot.zooniverse.workflows import Naming, Workflow, plain, slug

_ROWS_AT_ONCE = 20_000
_ANOTHER = "of another workflow"
CLASSIFICATIONS = "an export of classifications"
#: Names under which a subject's metadata may hold our id: as uploaded, hidden from volunteers, or from all.
HIDDEN = ("", "#", "!", "//")


@dataclass
class Votes:
    """Votes counted so far, and what was met on the way.

    Args:
        columns: Of all answers that can be counted.
        counts: For each subject the votes by column.
        metadata: For each subject what it was uploaded with, where the file says.
        classifications: How many were counted.
        left_out: How many were not, by the reason.
        unknown: Answers that have no column, by what they are, and how often.
        retired: Subjects that need no more classifications, as far as the file says.
    """

    columns: tuple[str, ...]
    counts: dict[str, dict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    classifications: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    retired: set[str] = field(default_factory=set)

    def table(self) -> pd.DataFrame:
        """A row for each subject, by its number; a column for each answer."""
        subjects = sorted(self.counts, key=lambda one: (len(one), one))
        rows = [[self.counts[subject].get(column, 0) for column in self.columns] for subject in subjects]
        found = pd.DataFrame(rows, columns=list(self.columns), dtype=float)
        if (found % 1 == 0).all(axis=None):
            found = found.astype(int)
        found.insert(0, "subject_id", subjects)
        return found


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How votes are counted.

    Args:
        workflow: What was asked.
        naming: What tasks and answers are called.
        weights: Of volunteers, by the names of their accounts; others weigh 1. 0 leaves somebody out.
        after_retirement: Whether classifications count that came when a subject was retired.
        first_version: Classifications of older versions of the workflow are left out.
    """

    workflow: Workflow
    naming: Naming
    weights: Mapping[str, float] = field(default_factory=dict)
    after_retirement: bool = True
    first_version: float | None = None

    def columns(self) -> tuple[str, ...]:
        """Of all answers, in the order of the workflow's tasks."""
        return tuple(column for key in self.naming.questions for column in self.naming.columns(key))


def count_votes(path: str | Path, counting: Counting) -> Votes:
    """The votes in an export, whichever kind it is.

    Raises:
        CatalogError: If it is none of the kinds, or damaged.
    """
    place = Path(path).expanduser()
    if place.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return _count_reductions(_posted(place), counting, Votes(counting.columns()))
    header = _read_header(place)
    for kind, wanted in _KINDS.items():
        if set(wanted) <= set(header):
            return _COUNTERS[kind](place, counting)
    raise CatalogError(
        f"{place} is no export of the Zooniverse that is known here: one of "
        + "; or ".join(f"{kind} has the columns {list(wanted)}" for kind, wanted in _KINDS.items())
        + f"; it has {header[:20]}"
    )


def kind_of_export(path: Path) -> str | None:
    """What a CSV file of the Zooniverse is, packed or not, in words; None of any other file.

    Raises:
        CatalogError: If it is damaged.
    """
    name = path.stem if has_compression(path) else path.name
    if not name.lower().endswith(".csv"):
        return None
    header = set(_read_header(path))
    return next((kind for kind, wanted in _KINDS.items() if set(wanted) <= header), None)


def _read_header(path: Path) -> list[str]:
    with readable(path), open_unpacked(path) as file:
        return list(pd.read_csv(file, nrows=0))


# A row for each volunteer and subject.


def count_classifications(paths: Sequence[Path], counting: Counting) -> Votes:
    """The votes in exports of classifications together: each classification, and each volunteer, once.

    Args:
        paths: The exports, the oldest first; each may repeat what is in those before it.
        counting: How votes are counted.

    Raises:
        CatalogError: If one is damaged.
    """
    votes = Votes(counting.columns())
    answers = _answers_by_text(counting)
    seen: set[tuple[str, str]] = set()
    known: set[str] = set()
    for place, path in enumerate(paths):
        here = _count_rows(path, counting, votes, answers, seen, known if place else set())
        known |= here
    return votes


def has_any_to_count(path: Path, counting: Counting) -> bool:
    """Whether an export of classifications has one that may count; it is read up to the first alone."""
    return any(_reason_to_leave_out(row, counting) is None for row in _rows(path))


def _count_rows(
    path: Path,
    counting: Counting,
    votes: Votes,
    answers: Mapping[str, Mapping[str, str]],
    seen: set[tuple[str, str]],
    known: set[str],
) -> set[str]:
    """Add the votes of an export, without classifications that are known; the numbers of all in it."""
    found = set()
    for row in _rows(path):
        number = row.get("classification_id", "")
        found.add(number)
        if number and number in known:
            if not _is_of_another(row, counting):  # who was retired since is told by the newer export
                _note_retired(_dictionary_of(row["subject_data"], path, row), votes)
            continue
        reason = _reason_to_leave_out(row, counting)
        if reason is not None:
            votes.left_out[reason] += 1
            continue
        subjects = _dictionary_of(row["subject_data"], path, row)
        if len(subjects) != 1:
            votes.left_out["of no subject, or of several at once"] += 1
            continue
        ((subject, about),) = subjects.items()
        about = about if isinstance(about, dict) else {}
        _note_retired(subjects, votes)
        user = row["user_name"] or row.get("user_ip") or row.get("classification_id", "")
        if (user, subject) in seen:
            votes.left_out["of a volunteer who had classified the subject before"] += 1
            continue
        if not counting.after_retirement and _came_late(row, about):
            votes.left_out["made after the subject was retired"] += 1
            continue
        seen.add((user, subject))
        votes.metadata.setdefault(subject, about)
        votes.classifications += 1
        weight = counting.weights.get(user, 1.0)
        for column in _answered(row, path, counting, answers, votes):
            votes.counts[subject][column] += weight
        votes.counts[subject]  # a subject that was seen has a row, though nothing was answered that counts
    return found


def _note_retired(subjects: Mapping[str, Any], votes: Votes) -> None:
    votes.retired |= {
        one for one, about in subjects.items() if isinstance(about, dict) and about.get("retired")
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with readable(path), open_unpacked(path) as file:
        chunks = pd.read_csv(file, dtype=str, keep_default_na=False, chunksize=_ROWS_AT_ONCE)
        for chunk in chunks:
            yield from chunk.to_dict("records")


def _is_of_another(row: Mapping[str, str], counting: Counting) -> bool:
    """Whether a row is of another workflow, where both say of which."""
    ours = counting.workflow.id
    return bool(ours) and row.get("workflow_id", ours) != ours


def _reason_to_leave_out(row: Mapping[str, str], counting: Counting) -> str | None:
    if _is_of_another(row, counting):
        return _ANOTHER
    if counting.first_version is not None:
        try:
            version = float(row.get("workflow_version", "nan"))
        except ValueError:
            version = float("nan")
        if not version >= counting.first_version:
            return "of an older version of the workflow"
    if counting.weights.get(row["user_name"], 1.0) == 0:
        return "of volunteers with a weight of 0"
    return None


def _came_late(row: Mapping[str, str], about: Mapping[str, Any]) -> bool:
    retired = about.get("retired")
    when = retired.get("retired_at") if isinstance(retired, dict) else None
    if not when or not row.get("created_at"):
        return False
    made, ended = (pd.to_datetime(one, utc=True, errors="coerce") for one in (row["created_at"], when))
    return bool(made > ended)


def _answers_by_text(counting: Counting) -> dict[str, dict[str, str]]:
    """For each task the columns, by the texts of its answers."""
    found: dict[str, dict[str, str]] = {}
    for key in counting.naming.questions:
        columns = counting.naming.columns(key)
        task = counting.workflow.tasks.get(key)
        texts = task.answers if task is not None else ()
        found[key] = {
            **{plain(text): column for text, column in zip(texts, columns, strict=False)},
            **dict(zip(texts, columns, strict=False)),
        }
    return found


def _answered(
    row: Mapping[str, str],
    path: Path,
    counting: Counting,
    answers: Mapping[str, Mapping[str, str]],
    votes: Votes,
) -> list[str]:
    """The columns of one classification's answers, each task once."""
    given: dict[str, str] = {}
    for key, value in _annotations(_list_of(row["annotations"], path, row)):
        if key not in answers or value is None or value == "":
            continue  # a task that is no question here, or was passed over
        columns = counting.naming.columns(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(columns):
            given[key] = columns[value]
        elif isinstance(value, str) and (found := answers[key].get(value) or answers[key].get(plain(value))):
            given[key] = found
        else:
            votes.unknown[f"{key}: {str(value)[:80]}"] += 1
    return list(given.values())


def _annotations(found: list[Any]) -> Iterator[tuple[str, Any]]:
    """Each task's key and value; those of a combined task one by one."""
    waiting = list(reversed(found))
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict) or "task" not in one:
            continue
        value = one.get("value")
        if isinstance(value, list) and value and all(isinstance(v, dict) and "task" in v for v in value):
            waiting += reversed(value)
        else:
            yield str(one["task"]), value


# Counts for each subject and task.


def _count_aggregation(path: Path, counting: Counting) -> Votes:
    """`subject_id`, `workflow_id`, `task`, and `data.<answer>` for each answer of any task."""
    votes = Votes(counting.columns())
    by_slug = _answers_by_slug(counting)
    for row in _rows(path):
        if _is_of_another(row, counting):
            votes.left_out[_ANOTHER] += 1
            continue
        columns = by_slug.get(row["task"])
        if columns is None:
            votes.left_out[f"of task {row['task']}, which is no question here"] += 1
            continue
        for name, value in row.items():
            if not name.startswith("data.") or value == "" or name == "data.aggregation_version":
                continue
            column = columns.get(slug(name.removeprefix("data.")))
            _add(votes, row["subject_id"], column, value, f"{row['task']}: {name}")
        votes.counts[row["subject_id"]]
        votes.classifications += 1
    return votes


def _count_reductions(found: Iterator[dict[str, Any]], counting: Counting, votes: Votes) -> Votes:
    """Reductions: `subject_id`, the task (or the reducer that is called after it), and counts by place."""
    by_slug = _answers_by_slug(counting)
    for one in found:
        key = next((key for key in counting.naming.questions if _names_task(one["reducer"], key)), None)
        if key is None:
            votes.left_out[f"of the reducer {one['reducer']}, which is no question here"] += 1
            continue
        columns = counting.naming.columns(key)
        for place, value in one["data"].items():
            if place in ("classifications", "aggregation_version"):
                continue
            is_place = place.isdecimal() and int(place) < len(columns)
            column = columns[int(place)] if is_place else by_slug[key].get(slug(place))
            _add(votes, one["subject_id"], column, value, f"{key}: {place}")
        votes.counts[one["subject_id"]]
        votes.metadata.setdefault(one["subject_id"], one["metadata"])
        votes.classifications += 1
    return votes


def _answers_by_slug(counting: Counting) -> dict[str, dict[str, str]]:
    """For each task the columns, by the texts of its answers as words of columns."""
    return {
        key: {slug(text): column for text, column in columns.items()}
        for key, columns in _answers_by_text(counting).items()
    }


def _add(votes: Votes, subject: str, column: str | None, value: Any, said: str) -> None:
    """Count votes for an answer; `said` is what they are called where it has no column, or they no number."""
    number = _number(value)
    if column is None or number is None:
        votes.unknown[said] += 1
    else:
        votes.counts[subject][column] += number


def _names_task(reducer: str, key: str) -> bool:
    """Whether a reducer is that of a task: called so, or "…_t0", or "…-T0"."""
    words = reducer.lower().replace("-", "_").split("_")
    return key.lower() in words


def _exported_reductions(path: Path, counting: Counting) -> Votes:
    votes = Votes(counting.columns())

    def rows() -> Iterator[dict[str, Any]]:
        for row in _rows(path):
            if _is_of_another(row, counting):
                votes.left_out[_ANOTHER] += 1
                continue
            data = _dictionary_of(row["data"], path, row)
            yield {
                "subject_id": row["subject_id"],
                "reducer": row["reducer_key"],
                "data": data,
                "metadata": {},
            }

    return _count_reductions(rows(), counting, votes)


def _posted(path: Path) -> Iterator[dict[str, Any]]:
    """Reductions as Caesar posts them: a list, or one on each line, of `reducible`, `data` and `subject`."""
    with readable(path):
        text = path.read_text(encoding="utf-8-sig")
    try:
        content = json.loads(text)
        listed = content if isinstance(content, list) else [content]
    except ValueError:
        listed = [
            _parse(line, f"line {n} of {path}") for n, line in enumerate(text.splitlines(), 1) if line.strip()
        ]
    for place, one in enumerate(listed):
        subject = one.get("subject") if isinstance(one, dict) else None
        data = one.get("data") if isinstance(one, dict) else None
        if not isinstance(subject, dict) or "id" not in subject or not isinstance(data, dict):
            raise CatalogError(
                f"entry {place} of {path} is no reduction of Caesar: it lacks a subject or data"
            )
        metadata = subject.get("metadata")
        yield {
            "subject_id": str(subject["id"]),
            "reducer": str(one.get("reducer_key", one.get("task", one.get("reducer", "")))),
            "data": {str(key): value for key, value in data.items()},
            "metadata": metadata if isinstance(metadata, dict) else {},
        }


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < float("inf") else None


def _dictionary_of(text: str, path: Path, row: Mapping[str, str]) -> dict[str, Any]:
    found = _parse(text, _where(path, row))
    if not isinstance(found, dict):
        raise CatalogError(f"{_where(path, row)} must hold a dictionary, got {text[:80]!r}")
    return found


def _list_of(text: str, path: Path, row: Mapping[str, str]) -> list[Any]:
    found = _parse(text, _where(path, row))
    if not isinstance(found, list):
        raise CatalogError(f"{_where(path, row)} must hold a list, got {text[:80]!r}")
    return found


def _where(path: Path, row: Mapping[str, str]) -> str:
    return (
        f"{path}, {'classification ' + row['classification_id'] if 'classification_id' in row else 'a row'}"
    )


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{where} is damaged: {error}; it begins {text[:80]!r}") from error


_KINDS: dict[str, tuple[str, ...]] = {
    CLASSIFICATIONS: ("workflow_id", "user_name", "annotations", "subject_data"),
    "an aggregation": ("subject_id", "task"),
    "an export of reductions": ("subject_id", "reducer_key", "data"),
}
_COUNTERS: dict[str, Callable[[Path, Counting], Votes]] = {
    CLASSIFICATIONS: lambda path, counting: count_classifications([path], counting),
    "an aggregation": _count_aggregation,
    "an export of reductions": _exported_reductions,
}
