"""The card of a model on the Hugging Face Hub: its README.md, written from the records of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoobot.shared import schemas
from zoobot.shared.errors import CheckpointError
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.preprocessing import describe_pixels
from zoobot.shared.references import REFERENCES, bibtex
from zoobot.workflow import methods, sentences
from zoobot.workflow.account import Account, ModelFacts
from zoobot.workflow.sentences import code

if TYPE_CHECKING:
    from zoobot.shared.tasks import Task

#: What the Hub calls scores that we have by another name.
_METRICS = {
    "accuracy": "accuracy",
    "f1_macro": "f1",
    "roc_auc": "roc_auc",
    "rmse": "rmse",
    "mae": "mae",
    "r2": "r_squared",
}
_FEW = 30
_MOST_ROWS = 100


def write_card(account: Account, repository: str, *, terms: str | None = None) -> str:
    """The card as Markdown, with the Hub's metadata before it.

    It says what the records say and no more; names of files, folders and galaxies are left out.

    Args:
        account: Of a run that taught a model, or of a model.
        repository: owner/name.
        terms: The license, as the Hub calls it; nothing is said of one without it.

    Raises:
        CheckpointError: If the account is of no model.
    """
    import huggingface_hub as hub  # late: only what goes to the Hub has a card

    told = account.for_others()
    data = hub.ModelCardData(ignore_metadata_errors=False, **_metadata(told, terms))
    return f"---\n{data.to_yaml()}\n---\n\n{_body(told, repository)}"


def _metadata(account: Account, terms: str | None) -> dict[str, Any]:
    """What the Hub lists a model by."""
    model = _model_of(account)
    task, parent = model.task, _hub_parent(model)
    metadata: dict[str, Any] = {
        "library_name": "zoobot",
        "license": terms,
        "pipeline_tag": "image-feature-extraction",
        "tags": ["zoobot", "timm", "astronomy", "galaxies", "morphology"],
    }
    if parent is not None:
        metadata |= {"base_model": parent, "base_model_relation": "finetune"}
    if task is None:
        return metadata
    if task.predicts != "numbers":
        metadata["pipeline_tag"] = "image-classification"
    if sentences.campaigns_of(task):
        metadata["tags"] = [*metadata["tags"], "galaxy-zoo"]
    scores = account.evaluation.get("scores") or {}
    known = [
        _METRICS[name]
        for name, _ in task.scores.headline
        if name in _METRICS and scores.get(name) is not None
    ]
    return metadata | ({"metrics": known} if known else {})


def _model_of(account: Account) -> ModelFacts:
    if account.model is None:
        raise CheckpointError(f"a card is of a model, and this is a run of `{account.work}`")
    return account.model


def _hub_parent(model: ModelFacts) -> str | None:
    """The repository on the Hub that training started from; None where it was none."""
    origin = Origin.from_config(model.facts.get("origin"))
    prefix, _, name = ("", "", "") if origin is None else origin.encoder.partition(":")
    return name.partition("@")[0] if prefix in ("hf_hub", "hf-hub") else None


def _body(account: Account, repository: str) -> str:
    model = _model_of(account)
    origin = Origin.from_config(model.facts.get("origin"))
    pixels = model.pixels
    looks = "" if pixels is None else f"```\n{describe_pixels(pixels, origin.pixels if origin else '')}\n```"
    sections = {
        "What it predicts": _predicts(model),
        "How it looks at a galaxy": looks,
        "Data and credit": _data(account),
        "Training": " ".join(sentences.training_sentences(account)),
        "Calibration": " ".join(
            [*sentences.calibration_sentences(account), *sentences.conformal_sentences(account)]
        ),
        "Scores": _scores(account),
        "Limits": _limits(account),
        "How to use it": _usage(account, repository),
        "Made with": " ".join(methods.software_sentences(account)),
    }
    text = "\n\n".join(f"## {title}\n\n{said}" for title, said in sections.items() if said)
    keys = sentences.cited("\n".join([text, *sentences.task_sentences(model.task)]))
    title = f"# {repository.rpartition('/')[2]}\n\n{_first_words(model)}"
    entries = f"## Citation\n\n```bibtex\n{bibtex(keys)}\n```\n"
    return _spelled("\n\n".join([title, text, entries]))


def _first_words(model: ModelFacts) -> str:
    if model.task is None:
        return "An encoder of galaxies, to start finetuning from: it turns an image into features."
    things = {
        "classes": "sorts galaxies into classes",
        "labels": "says which labels a galaxy has",
        "numbers": "measures galaxies",
        "votes": "says what volunteers would answer of a galaxy",
    }
    return f"A model that {things[model.task.predicts]}, made with [Zoobot](https://doi.org/10.21105/joss.05312)."


def _predicts(model: ModelFacts) -> str:
    said = " ".join([*sentences.task_sentences(model.task), *sentences.encoder_sentences(model)])
    if model.task is None or model.task.tree is None:
        return said
    rows = [
        f"| {_in_table(question.text)} | {', '.join(_in_table(answer.text) for answer in question.answers)} |"
        for question in model.task.tree.questions
    ]
    return "\n".join([said, "", "| question | answers |", "|---|---|", *rows[:_MOST_ROWS]])


def _data(account: Account) -> str:
    model = _model_of(account)
    task = model.task
    said = methods.data_sentences(account) or sentences.taught_sentences(account, model)
    said = said or ["The records do not say which galaxies taught it."]
    parts = [" ".join(said)]
    if task is not None:
        campaigns = sentences.campaigns_of(task)
        parts += [f"- {schemas.describe(name)}, and the volunteers of Galaxy Zoo" for name in campaigns]
    parts.append(
        "No image, label, or id of a galaxy is part of this repository. Whoever uses the model should also "
        "credit the survey whose images it learned from, which its records don't name."
    )
    return "\n\n".join(parts)


def _scores(account: Account) -> str:
    """The headline as a table, and one of the classes, labels, numbers or questions."""
    evaluation, task = account.evaluation, _model_of(account).task
    scores = evaluation.get("scores") or {}
    if task is None or not scores:
        return ""
    count, part = evaluation.get("galaxies"), str(evaluation.get("part", ""))
    lines = [f"On {count or 0:,} {methods.PARTS.get(part, 'galaxies')}.", ""]
    shown = [(words, name) for name, words in task.scores.headline if scores.get(name) is not None]
    lines += [
        "| score | |",
        "|---|---|",
        *(f"| {words} | {methods.score_text(evaluation, name)} |" for words, name in shown),
    ]
    rows = [name for name in task.score_rows if scores.get(f"n_{name}") != 0]
    if rows:
        columns = task.scores.columns
        lines += [
            "",
            f"| {task.scores.rows} | {' | '.join(words for _, words in columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        lines += [
            f"| {_in_table(name)} | {' | '.join(_cell(evaluation, key, name) for key, _ in columns)} |"
            for name in rows[:_MOST_ROWS]
        ]
    if any(methods.interval_of(evaluation, name) for name, _ in task.scores.headline):
        lines += ["", methods.interval_sentence(evaluation)]
    return "\n".join(lines)


def _in_table(word: str) -> str:
    return code(word).replace("|", "\\|")


def _cell(evaluation: dict[str, Any], key: str, name: str) -> str:
    value = evaluation["scores"].get(f"{key}_{name}")
    if key == "n":
        return "–" if value is None else f"{value:,.0f}"
    return methods.score_text(evaluation, f"{key}_{name}")


def _limits(account: Account) -> str:
    """What the records tell of where it can't be trusted."""
    model, evaluation = _model_of(account), account.evaluation
    task, scores = model.task, evaluation.get("scores") or {}
    counts = model.training.get("galaxies") or {}
    known = (
        f"the {counts['train']:,} that it learned from"
        if counts.get("train")
        else "those that it learned from"
    )
    limits = [
        f"It knows galaxies like {known}. Those of another survey, depth, "
        "resolution, redshift, band or cut-out may look unlike all it has seen: measure how well it does on "
        "labelled galaxies of yours before you believe it."
    ]
    if account.record.get("status", "finished") != "finished":
        limits.append(
            f"The run that taught it did not end as it should: it is {code(account.record['status'])}."
        )
    if not scores and task is not None:
        limits.append("It has no scores here: how well it does is not known.")
    if evaluation.get("part") == "val":
        limits.append("Its scores are on galaxies that also chose the model: on new ones they may be lower.")
    if evaluation.get("trained_on"):
        limits.append(
            "Its scores are partly on galaxies that it was trained on: on new ones they will be lower."
        )
    if task is not None:
        limits += _few_rows(task, scores)
        limits += (
            ["Its probabilities are not calibrated."]
            if task.num_factors and not model.training.get("calibration")
            else []
        )
    if account.record.get("calibration") and account.record["calibration"] != model.training.get(
        "calibration"
    ):
        limits.append(
            "It was calibrated anew after it was scored: the scores are of the earlier calibration."
        )
    if model.facts.get("origin"):
        limits.append(
            "Whether the encoder that it started from had met the galaxies of its scores is not recorded."
        )
    if task is not None and task.predicts == "votes":
        limits.append(
            "What volunteers see depends on size, brightness and distance: votes are not debiased by it."
        )
    return "\n".join(f"- {limit}" for limit in limits)


def _few_rows(task: Task, scores: dict[str, Any]) -> list[str]:
    counts = {name: scores.get(f"n_{name}") for name in task.score_rows}
    few = [f"{code(name)} ({n:,.0f})" for name, n in counts.items() if n is not None and n < _FEW]
    return [f"Fewer than {_FEW} galaxies tell of: {', '.join(few)}."] if few else []


def _usage(account: Account, repository: str) -> str:
    model = _model_of(account)
    name = f"hf_hub:{repository}"
    lines = ["From the command line, with either engine:", "", "```bash"]
    if model.task is not None:
        lines += [
            f"zoobot predict {name} --catalog new.csv --save-loc predictions.parquet",
            f"zoobot predict {name} --catalog new.csv --save-loc predictions.parquet --backend tensorflow",
        ]
    lines += [
        f"zoobot finetune --encoder {name} --catalog mine.csv --labels ring --save-dir results",
        "```",
        "",
    ]
    does = (
        'model.predict("my_images/*.jpg").table'
        if model.task is not None
        else 'model.represent("my_images/*.jpg")'
    )
    lines += [
        "In Python:",
        "",
        "```python",
        "import zoobot",
        "",
        f'model = zoobot.load("{name}")  # or with backend="tensorflow"',
        does,
        "```",
        "",
    ]
    lines += [
        "Its encoder in timm, from normalised images of the size above to features:",
        "",
        "```python",
        "import timm",
        "",
        f'encoder = timm.create_model("{name}", pretrained=True, num_classes=0)',
        "```",
    ]
    return "\n".join(lines)


def _spelled(text: str) -> str:
    """A text whose citations are spelled out, for readers without the bibliography."""
    for group in set(sentences.citations(text)):
        text = text.replace(f"[{group}]", f"({_shorts(key.removeprefix('@') for key in group.split('; '))})")
    return text


def _shorts(keys: Iterable[str]) -> str:
    return "; ".join(REFERENCES[key].short if key in REFERENCES else key for key in keys)
