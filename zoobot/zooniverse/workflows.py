"""A Zooniverse workflow: its tasks, what they are called here, and the decision tree that they make."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.errors import SchemaError
from zoobot.shared.files.table_checks import readable
from zoobot.shared.trees.tree import Schema

logger = logging.getLogger("zoobot")

#: Tasks that ask one question and take one answer; all else is not a question of a tree.
_QUESTION = "single"
_WORDS = re.compile(r"[^a-z0-9]+")
#: Volunteers see Markdown and pictures in the texts of answers.
_MARKUP = re.compile(r"!\[[^\]]*\]\([^)]*\)|\[([^\]]*)\]\([^)]*\)")


def plain(text: str) -> str:
    """A text as volunteers read it: without Markdown and pictures, its blanks single.

    Example:
        >>> plain("**Smooth**  ![image](https://a.org/smooth.png =60x)")
        'Smooth'
    """
    return " ".join(_MARKUP.sub(r"\1", text).replace("*", "").replace("_", " ").split())


def slug(text: str) -> str:
    """A text as a word of column names.

    Example:
        >>> slug("Features or disk?")
        'features-or-disk'
    """
    return _WORDS.sub("-", plain(text).lower()).strip("-")


@dataclass(frozen=True)
class TaskOfWorkflow:
    """One task as volunteers see it.

    Args:
        key: Such as "T0".
        kind: As Panoptes calls it: "single", "multiple", "combo", "drawing" …
        text: The question.
        answers: The texts of its answers, in order.
        nexts: The task after each answer; None at an end.
        next: The task after it, where that does not depend on the answer.
    """

    key: str
    kind: str
    text: str
    answers: tuple[str, ...] = ()
    nexts: tuple[str | None, ...] = ()
    next: str | None = None


@dataclass(frozen=True)
class Naming:
    """What tasks and answers are called in columns of votes.

    Args:
        questions: For each key of a task the question, as it stands in columns.
        answers: For each key the words of its answers, in order.

    Example:
        >>> Naming({"T0": "bar-mine"}, {"T0": ("yes", "no")}).columns("T0")
        ('bar-mine_yes', 'bar-mine_no')
    """

    questions: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def columns(self, key: str) -> tuple[str, ...]:
        """The columns of a task's answers, in order."""
        return tuple(f"{self.questions[key]}_{answer}" for answer in self.answers[key])

    @classmethod
    def from_extractor(cls, path: str | Path) -> Naming:
        """That of a label extractor of the Galaxy Zoo project, a JSON file.

        It holds `task_key_label_prefixes` ({"T0": "smooth-or-featured"}), `task_key_data_labels`
        ({"T0": {"0": "smooth", "1": "featured-or-disk"}}) and `data_release_suffix`, which follows each.

        Raises:
            SchemaError: If it holds something else.
        """
        found = _read_json(path)
        prefixes, labels = _dictionary(found, "task_key_label_prefixes"), None
        if prefixes is not None:
            labels = _dictionary(found, "task_key_data_labels")
        if prefixes is None or labels is None or not all(isinstance(one, dict) for one in labels.values()):
            raise SchemaError(
                f"{path} must hold task_key_label_prefixes and task_key_data_labels, as the label extractors "
                "of Galaxy Zoo do"
            )
        suffix = str(found.get("data_release_suffix") or "").strip("-_")
        questions, answers = {}, {}
        for key, prefix in prefixes.items():
            places = {
                int(place) if place.isdecimal() else -1: str(word).removeprefix("_")
                for place, word in labels.get(key, {}).items()
            }
            if sorted(places) != list(range(len(places))) or not places:
                msg = f"{path}: the answers of {key} must be counted from 0, got {labels.get(key)!r}"
                raise SchemaError(msg)
            questions[key] = f"{prefix}-{suffix}" if suffix else str(prefix)
            answers[key] = tuple(places[place] for place in range(len(places)))
        return cls(questions, answers)


@dataclass(frozen=True)
class Workflow:
    """What volunteers are asked.

    Args:
        id: Its number at the Zooniverse; empty where its file does not say.
        name: What it is called there.
        first: The task that comes first.
        tasks: All of its tasks, by their keys.
    """

    id: str
    name: str
    first: str
    tasks: Mapping[str, TaskOfWorkflow]

    def questions(self) -> list[TaskOfWorkflow]:
        """Its tasks with one answer of several: the questions of a tree."""
        return [task for task in self.tasks.values() if task.kind == _QUESTION]

    def naming(self) -> Naming:
        """Names made of its own words, where nobody gave others."""
        questions = {task.key: slug(task.text) or task.key.lower() for task in self.questions()}
        repeated = [name for name in questions.values() if list(questions.values()).count(name) > 1]
        for key, name in questions.items():
            questions[key] = f"{name}-{key.lower()}" if name in repeated else name
        answers = {
            task.key: tuple(slug(answer) or str(place) for place, answer in enumerate(task.answers))
            for task in self.questions()
        }
        return Naming(questions, answers)

    def schema(self, naming: Naming, *, name: str | None = None) -> Schema:
        """The decision tree of its questions.

        Args:
            naming: What they are called; questions without a name are left out, and led through.
            name: What to call the tree.

        Raises:
            SchemaError: If it is no tree, or an answer has no name.
        """
        pairs: dict[str, list[str]] = {}
        parents: dict[str, list[str]] = {}
        for task in self.questions():
            if task.key not in naming.questions:
                continue
            words = naming.answers[task.key]
            if len(words) != len(task.answers):
                raise SchemaError(
                    f"task {task.key} ({plain(task.text)!r}) has {len(task.answers)} answers, "
                    f"{[plain(answer) for answer in task.answers]}, but {len(words)} names: {list(words)}"
                )
            pairs[naming.questions[task.key]] = list(words)
            for column, after in zip(naming.columns(task.key), task.nexts, strict=True):
                child = self._question_from(after, naming)
                if child is not None:
                    parents.setdefault(naming.questions[child], []).append(column)
        if not pairs:
            raise SchemaError(f"the workflow {self.name!r} asks no question with one answer of several")
        return Schema.from_pairs(pairs, parents, name=name or slug(self.name) or "workflow")

    def _question_from(self, key: str | None, naming: Naming) -> str | None:
        """The named question that is asked next: `key` itself, or what follows where it is none."""
        seen = set()
        while key is not None and key in self.tasks and key not in naming.questions and key not in seen:
            seen.add(key)
            task = self.tasks[key]
            afters = set(task.nexts) | ({task.next} if not task.nexts else set())
            key = afters.pop() if len(afters) == 1 else None
        return key if key in naming.questions else None


def read_workflow(path: str | Path, workflow_id: str | None = None) -> Workflow:
    """A workflow from its JSON, as the Zooniverse's API gives it, or from a project's export of workflows.

    Args:
        path: The JSON of one workflow or of several (`{"workflows": [...]}`), or the export, a CSV file with
            a row for each version, of which the newest is taken.
        workflow_id: Which one, if there are several.

    Raises:
        SchemaError: If there is none, or which one is not said.
    """
    place = Path(path).expanduser()
    if place.suffix.lower() == ".csv":
        found = _from_export(place)
    else:
        content = _read_json(place)
        listed = content.get("workflows", [content]) if isinstance(content, dict) else content
        if not isinstance(listed, list):
            raise SchemaError(f"{place} must hold a workflow, or a list of them")
        found = [_from_json(one, place) for one in listed]
    known = {workflow.id: workflow for workflow in found}
    if workflow_id is not None:
        if str(workflow_id) not in known:
            raise SchemaError(f"{place} holds no workflow {workflow_id}; it holds {sorted(known)}")
        return known[str(workflow_id)]
    if len(known) != 1:
        named = sorted(f"{workflow.id} ({workflow.name})" for workflow in known.values())
        msg = f"{place} holds {len(known)} workflows: say which, with --workflow-id; it holds {named}"
        raise SchemaError(msg)
    return next(iter(known.values()))


def read_questions(path: str, workflow_id: str | None, extractor: str | None) -> tuple[Workflow, Naming]:
    """A workflow, and what its questions and answers are called.

    Args:
        path: As for `read_workflow`.
        workflow_id: Likewise.
        extractor: A label extractor, which names them; None makes names of the workflow's own words.

    Raises:
        SchemaError: If one can't be read, or the names are of other tasks.
    """
    workflow = read_workflow(path, workflow_id)
    if extractor is None:
        return workflow, workflow.naming()
    naming = Naming.from_extractor(extractor)
    absent = [key for key in naming.questions if key not in workflow.tasks]
    if absent:
        raise SchemaError(
            f"{extractor} names the tasks {absent}, which the workflow does not have; it has "
            f"{list(workflow.tasks)}"
        )
    unnamed = [task.key for task in workflow.questions() if task.key not in naming.questions]
    if unnamed:
        logger.info("Left out, since %s does not name them: tasks %s", extractor, ", ".join(unnamed))
    return workflow, naming


def _from_export(path: Path) -> list[Workflow]:
    with readable(path):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in ("workflow_id", "tasks", "strings") if name not in table.columns]
    if missing:
        raise SchemaError(f"{path} is no export of workflows: it lacks {missing}, and has {list(table)}")
    for name in ("version", "minor_version"):
        table[name] = pd.to_numeric(table.get(name, pd.Series(0, index=table.index)), errors="coerce").fillna(
            0
        )
    newest = table.sort_values(["version", "minor_version"], kind="stable").groupby("workflow_id").tail(1)
    rows = newest.to_dict("records")
    return [
        _from_json(
            {
                "id": row["workflow_id"],
                "display_name": row.get("display_name", ""),
                "first_task": row.get("first_task", ""),
                "tasks": _parsed(row["tasks"], path),
                "strings": _parsed(row["strings"], path),
            },
            path,
        )
        for row in rows
    ]


def _from_json(content: Any, path: Path) -> Workflow:
    tasks = _dictionary(content, "tasks")
    if tasks is None:
        raise SchemaError(f"{path} holds no workflow: a workflow has tasks")
    strings = _dictionary(content, "strings") or {}

    def text_of(place: Any, fallback: str) -> str:
        """What stands for a text: the text, or where it stands among the strings."""
        words = strings.get(fallback, strings.get(place, place) if isinstance(place, str) else None)
        return words if isinstance(words, str) else ""

    found = {}
    for key, task in tasks.items():
        if not isinstance(task, dict):
            raise SchemaError(f"{path}: task {key!r} must be a dictionary, got {task!r}")
        answers = task.get("answers") or []
        answers = answers if isinstance(answers, list) else []
        shown = [one if isinstance(one, dict) else {} for one in answers]
        asked = task.get("question", task.get("instruction", ""))
        field_name = "question" if "question" in task else "instruction"
        is_single = task.get("type") == _QUESTION
        found[key] = TaskOfWorkflow(
            key=str(key),
            kind=str(task.get("type", "")),
            text=text_of(asked, f"{key}.{field_name}"),
            answers=tuple(
                text_of(one.get("label", ""), f"{key}.answers.{place}.label")
                for place, one in enumerate(shown)
            ),
            nexts=tuple(_after(one.get("next", task.get("next"))) for one in shown) if is_single else (),
            next=_after(task.get("next")),
        )
    first = str(content.get("first_task") or next(iter(found), ""))
    return Workflow(str(content.get("id", "")), str(content.get("display_name", "")), first, found)


def _after(key: Any) -> str | None:
    return key if isinstance(key, str) and key else None


def _dictionary(content: Any, name: str) -> dict[str, Any] | None:
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else None


def _read_json(path: str | Path) -> Any:
    place = Path(path).expanduser()
    try:
        return _parsed(place.read_text(encoding="utf-8-sig"), place)
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"can't read {place}: {error}") from error


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path} is damaged, or no JSON: {error}") from error
