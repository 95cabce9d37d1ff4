"""What a run did, in sentences with its numbers and whom to cite: for a paper, from its records alone."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from zoobot.certainty.bootstrap import Interval
from zoobot.shared.engine import ENGINES
from zoobot.shared.errors import ConfigError, ZoobotError
from zoobot.shared.files.whole import write_safely
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.references import bibtex
from zoobot.workflow.account import TEACHING, Account, read_account
from zoobot.workflow.scores import in_brackets, number
from zoobot.workflow.sentences import (
    RANDOM,
    calibration_sentences,
    cite,
    cited,
    code,
    conformal_sentences,
    joined,
    model_sentences,
    pixel_sentences,
    plain,
    training_sentences,
)

logger = logging.getLogger("zoobot")

METHODS_FILE = "methods.md"
REFERENCES_FILE = "references.bib"

#: What galaxies were to a model that was scored on them.
PARTS = {
    "test": "test galaxies, which had no part in training",
    "val": "validation galaxies, which also chose the model, so that the scores may flatter it",
    "catalog": "galaxies",
}
#: What records call catalogs that were no files (`zoobot.shared.catalogs.given`): no reader could find them.
_IN_MEMORY = re.compile(r"the DataFrame|an image in memory|[\d,]+ images(?: in memory)?")
_SPLITS = {
    "random": "at random",
    "stratified": "at random, with the same mix of classes in each part",
    "sky": "by patches of sky, each of which went to one part",
    "group": "by groups of galaxies, each of which went to one part",
}
#: Packages: the module, as a paper calls it, whom to cite, and the framework that it goes with, if any.
_PACKAGES = (
    ("torch", "PyTorch", "paszke2019pytorch", "torch"),
    ("timm", "timm", "wightman2019timm", "torch"),
    ("lightning", "PyTorch Lightning", "falcon2019lightning", "torch"),
    ("pytorch_lightning", "PyTorch Lightning", "falcon2019lightning", "torch"),
    ("tensorflow", "TensorFlow", "abadi2016tensorflow", "tensorflow"),
    ("keras", "Keras", "chollet2015keras", "tensorflow"),
    ("numpy", "NumPy", "harris2020numpy", ""),
)


def write_methods(folder: Path) -> None:
    """Write methods.md and references.bib into a run's folder, from its record.

    The run's results are there by then: where this fails, it is said, and they stay.
    """
    try:
        text = methods_of(folder)
        write_safely(folder / METHODS_FILE, text)
        write_safely(folder / REFERENCES_FILE, bibtex(cited(text)) + "\n")
    except (ZoobotError, OSError) as error:
        logger.warning("%s was not written: %s", folder / METHODS_FILE, error)


def methods_of(place: str | Path) -> str:
    """What was done in a run, with a model or for a table: see `read_account` and `methods_text`.

    Raises:
        ZoobotError: If it is none of these, or its record is damaged.
    """
    account = read_account(place)
    try:
        return methods_text(account)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        if isinstance(error, ZoobotError):
            raise
        damaged = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the record of {place} is damaged, or none of ours ({damaged})") from error


def methods_text(account: Account) -> str:
    """What was done, as Markdown; citations are `[@key]`, as in references.bib."""
    status = account.record.get("status", "finished")
    unfinished = (
        [] if status == "finished" else [f"**The run did not end as it should: it is {code(status)}.**"]
    )
    parts = {
        "Data": data_sentences(account),
        "Images": pixel_sentences(account),
        "Model": model_sentences(account),
        "Training": training_sentences(account),
        "Calibration": calibration_sentences(account) + conformal_sentences(account),
        "Scores": score_sentences(account) + comparison_sentences(account),
        "Predictions": prediction_sentences(account),
        "Software": software_sentences(account),
    }
    sections = [f"**{title}.** {' '.join(sentences)}" for title, sentences in parts.items() if sentences]
    unsaid = unsaid_by(account)
    if unsaid:
        sections.append(f"*The records do not say: {'; '.join(unsaid)}.*")
    return "\n\n".join(["# Methods", *unfinished, *sections]) + "\n"


def data_sentences(account: Account) -> list[str]:
    """Which galaxies, how they were split, what became of them."""
    data = account.record.get("data") or {}
    if not data:
        return []
    if account.work not in TEACHING:
        return _catalog_sentences(account, data)
    counts = {part: facts.get("galaxies") for part, facts in data.items()}
    uses = {"train": "to train on", "val": "to validate on", "test": "to test on"}
    parts = [
        f"{counts[part]:,} {use}{_source(account, data, part)}"
        for part, use in uses.items()
        if counts.get(part)
    ]
    total = sum(n for n in counts.values() if n)
    sentences = [f"{total:,} labelled galaxies{_source(account, data)} were used: {joined(parts)}."]
    split = (data.get("train") or {}).get("split")
    if split is not None:
        sentences.append(_split_sentence(account, str(split)))
    elif counts.get("train"):
        sentences.append("Each part came from a catalog of its own.")
    without = sum(int(facts.get("without_target") or 0) for facts in data.values())
    if without:
        sentences.append(f"{without:,} further galaxies had no value to learn and were left out.")
    if account.failures is not None:
        sentences.append(_failure_sentence(account.failures))
    counted = account.told("classes") or account.told("labels")
    if counted:
        sentences.append(f"The training galaxies by label: {plain(counted.partition(';')[0])}.")
    return sentences


def _catalog_sentences(account: Account, data: dict[str, Any]) -> list[str]:
    count, source = (data.get("catalog") or {}).get("galaxies"), _source(account, data)
    if count is None and not source:
        return []
    told = [
        f"{'The' if count is None else f'{count:,}'} "
        f"galaxies{' came' * bool(source)}{source or ' were used'}."
    ]
    found = (data.get("catalog") or {}).get("found")
    if found:
        told.append(_found_sentence(found))
    return told if account.failures is None else [*told, _failure_sentence(account.failures)]


def _found_sentence(found: dict[str, Any]) -> str:
    tiles, sources = int(found["tiles"]), int(found["sources"])
    where = "1 tile" if tiles == 1 else f"{tiles:,} tiles"
    how = (
        f"{int(found['detect_area_pix'])} connected pixels of {float(found['detect_sigma']):g} times the "
        f"noise above the sky, and a total S/N of at least {float(found['min_snr']):g}"
    )
    works = cite("barbary2016sep", "bertin1996sextractor")
    return f"These are sources that SEP{works} found in {where} ({sources:,} with {how})."


def _source(account: Account, data: dict[str, Any], part: str | None = None) -> str:
    """The file of all galaxies, by name, where it is one; of a part, its file where it is not."""
    sources = {name: str(facts["source"]) for name, facts in data.items() if facts.get("source")}
    of_all = len(set(sources.values())) == 1
    if account.is_public or of_all != (part is None) or (part or "") not in ("", *sources):
        return ""
    name = Path(sources[part or next(iter(sources))]).name
    return "" if _IN_MEMORY.fullmatch(name) else f" from {code(name)}"


def _split_sentence(account: Account, split: str) -> str:
    method, _, column = split.partition(", by column ")
    column = column or split.removeprefix("column ") * split.startswith("column ")
    by = f" (column {code(column.strip(chr(39)))})" if column else ""
    if split.startswith("column "):
        return f"They were split as the catalog says{by}."
    seed = account.options.get("seed")
    drawn = "" if seed is None else f" with seed {seed}"
    return f"They were split {_SPLITS.get(method, code(method))}{by}{drawn}."


def _failure_sentence(failures: int) -> str:
    if not failures:
        return "Every image could be read."
    were = "image could not be read and was" if failures == 1 else "images could not be read and were"
    return f"{failures:,} {were} left out."


def score_sentences(account: Account) -> list[str]:
    """How well galaxies were predicted, with the intervals of the scores."""
    evaluation = account.evaluation
    scores, model = evaluation.get("scores") or account.record.get("scores") or {}, account.model
    task = model.task if model else None
    if not scores or task is None:
        return []
    shown = [
        f"{words} {score_text(evaluation, name)}"
        for name, words in task.scores.headline
        if scores.get(name) is not None
    ]
    count, part = evaluation.get("galaxies"), str(evaluation.get("part", ""))
    who = f"On {count:,} {PARTS.get(part, 'galaxies')}" if count else "On the galaxies that it was scored on"
    sentences = [f"{who}: {'; '.join(shown)}."]
    for key, words in (
        ("trained_on", "had been trained on"),
        ("validated_on", "had chosen its epoch and calibration"),
    ):
        if evaluation.get(key):
            sentences.append(f"{evaluation[key]:,} of them {words}.")
    if any(interval_of(evaluation, name) for name, _ in task.scores.headline):
        sentences.append(interval_sentence(evaluation))
    return sentences


def comparison_sentences(account: Account) -> list[str]:
    """How the scores differ from those of other models, and how they fall on images made worse."""
    task = account.model.task if account.model else None
    sentences, has_intervals = [], False
    headline = task.scores.headline if task else ()
    for each in account.record.get("comparisons") or [] if headline else []:
        told = [(words, each["differences"].get(name) or {}) for name, words in headline]
        shown = [f"{words} {_difference(row)}" for words, row in told if row.get("difference") is not None]
        has_intervals |= any(row.get("interval") for _, row in told)
        other = Path(str(each.get("with"))).name
        sentences.append(
            f"On the same {each.get('galaxies', 0):,} galaxies the scores differ from those of {code(other)} "
            f"by: {'; '.join(shown)}."
        )
    if has_intervals:
        sentences.append(f"Each resample drew the same galaxies for both{cite('efron1979bootstrap')}.")
    return sentences + _degradation_sentences(account.degradation)


def _difference(row: dict[str, Any]) -> str:
    """A difference of scores with its sign, and its interval."""
    value = f"{row['difference']:+.3f}".replace("-", "−")
    return value if not row.get("interval") else f"{value} {in_brackets(Interval(*row['interval']))}"


def _degradation_sentences(told: dict[str, Any]) -> list[str]:
    """The first score at the mildest and the hardest step of each kind of worse images."""
    rows, scores = told.get("rows") or [], told.get("scores") or {}
    name = next(iter(scores), None)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("name") == name and row.get("score") is not None:
            found.setdefault(str(row.get("kind")), []).append(row)
    (own, *_) = found.pop("none", [{}])
    sentences = []
    for kind, steps in found.items():
        means = ((told.get("kinds") or {}).get(kind) or {}).get("step", "")
        ends = [f"{number(row['score'])} at {row['step']:g}" for row in (steps[0], *steps[1:][-1:])]
        from_own = f" from {number(own['score'])}" if own else ""
        unit = f" ({means})" if means else ""
        sentences.append(
            f"With images made worse by {code(kind)}{unit}, {scores[name]} goes{from_own} to {joined(ends)}."
        )
    return sentences


def interval_of(evaluation: dict[str, Any], name: str) -> Interval | None:
    """The interval of a score, as evaluation.json has it; None where there is none."""
    found = ((evaluation.get("intervals") or {}).get("scores") or {}).get(name)
    if not isinstance(found, list) or len(found) != 2 or None in found:
        return None
    return Interval(*map(float, found))


def interval_sentence(evaluation: dict[str, Any]) -> str:
    """What the intervals of an evaluation are."""
    told = evaluation.get("intervals") or {}
    percent, resamples, groups = (told.get(name) for name in ("percent", "resamples", "groups"))
    at = f"{percent:g} % intervals" if isinstance(percent, (int, float)) else "intervals"
    drawn = f"{resamples:,} bootstrap resamples" if isinstance(resamples, int) else "bootstrap resamples"
    units = "galaxies"
    if isinstance(groups, dict) and groups:
        name, number_of = next(iter(groups.items()))
        units = f"the {number_of:,} groups of the column {code(name)}"
    return f"In brackets stand {at}, from {drawn} of {units}{cite('efron1979bootstrap')}."


def score_text(evaluation: dict[str, Any], name: str) -> str:
    """A score with its interval, where it has one."""
    interval = interval_of(evaluation, name)
    value = number((evaluation.get("scores") or {}).get(name))
    return value if interval is None else f"{value} {in_brackets(interval)}"


def prediction_sentences(account: Account) -> list[str]:
    """How predictions were made, where more than a model decides."""
    options = account.options
    if account.work in (*TEACHING, "model"):
        return []
    sentences = []
    if (options.get("n_samples") or 1) > 1:
        whose = "each model's" if len(account.models) > 1 else "the model's"
        mixed = f"the mixture of {options['n_samples']} samples of {whose} dropout"
        sentences.append(f"Each prediction is {mixed}.")
    members = 1 + len(options.get("ensemble") or [])
    if members > 1 and len(account.models) < 2:
        sentences.append(f"Each prediction is the equal mixture of {members} models.")
    if options.get("summary") or options.get("full_table"):
        level = options.get("level")
        kind = options.get("interval", "")
        sentences.append(f"Intervals of vote fractions are {kind} at {100 * level:.3g} %." if level else "")
    return [sentence for sentence in sentences if sentence]


def software_sentences(account: Account) -> list[str]:
    """What it was done with, and the seed."""
    model = account.model
    versions = account.record.get("versions") or (model.facts.get("versions") if model else None) or {}
    if not versions:
        return []
    zoobot = f" {versions['zoobot']}" if versions.get("zoobot") else ""
    used = next((framework for framework in ENGINES.values() if framework in versions), "")
    framework = ENGINES.get(account.options.get("backend", ""), used)
    told = {
        name: f"{name} {versions[module]}{cite(key)}"
        for module, name, key, needed in _PACKAGES
        if versions.get(module) and needed in ("", framework)
    }
    python = [f"Python {versions['python']}"] if versions.get("python") else []
    with_ = f", {joined([*told.values(), *python])}" if told or python else ""
    seed = account.options.get("seed")
    drawn = f" The seed was {seed}." if seed is not None and account.work != "model" else ""
    return [f"All was done with Zoobot{zoobot} [@walmsley2023zoobot]{with_}.{drawn}"]


def unsaid_by(account: Account) -> list[str]:
    """What a reader would ask, and the records don't tell."""
    model = account.model
    learned = account.work in (*TEACHING, "model")
    parent = Origin.from_config(model.facts.get("origin")) if model else None
    lacking = {
        "which galaxies": not data_sentences(account) and not (model and model.training.get("galaxies")),
        "which model": model is None,
        "what the model predicts": model is not None
        and account.work != "model"
        and not model.facts.get("task"),
        "how it looks at images": model is not None and not model.facts.get("preprocessing"),
        "what its encoder started from": model is not None and not model.facts.get("origin"),
        "whether the encoder had met the galaxies of the scores": learned
        and bool(score_sentences(account))
        and parent is not None
        and not parent.encoder.endswith(RANDOM),
        "how it was trained": learned and model is not None and not training_sentences(account),
        "how it was scored": account.work == "evaluate" and not score_sentences(account),
        "versions": not software_sentences(account),
    }
    return [words for words, missing in lacking.items() if missing]
