"""What the records of a run, a model or a table of predictions say of how it came about."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared import tasks
from zoobot.shared.checkpoint import read_config
from zoobot.shared.errors import CheckpointError, ConfigError, PredictionsError
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.models.model_places import (
    bundled_checkpoint,
    bundled_encoder,
    bundled_names,
    find_checkpoint,
)
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.shared.predicting.members import FeatureTask
from zoobot.shared.predictions import Parts, read_prediction_metadata
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.run_folder import read_record, read_record_file

if TYPE_CHECKING:
    from zoobot.shared.tasks import Task

#: Runs whose folder holds the model that they taught.
TEACHING = ("finetune", "train")

#: The table that runs leave in their folder.
_PREDICTIONS = "predictions.parquet"

#: What others are told of an encoder that is called by a folder.
UNNAMED = "a checkpoint without a public name"

#: What a record keeps of a model's config.json.
_OF_MODELS = ("task", "preprocessing", "origin", "training", "versions")

#: What a record of training says that is nobody else's.
_OF_AUTHORS = frozenset(
    {"catalog", "catalogs", "command", "fingerprint", "contents", "source", "paths", "ids"}
)

#: The folder of a model in the Hub's cache: whose, which, and which commit.
_IN_CACHE = re.compile(r"/models--(.+?)--(.+)/snapshots/([^/]+)$")

#: A text with a separator of folders in it may name a place on somebody's disk.
_IS_PLACE = re.compile(r"[\\/]|^~|\.(?:csv|tsv|parquet|fits?|vot|hdf5|jpe?g|png)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a checkpoint's config.json says.

    Args:
        name: How the model is called here: its folder, its name on the Hub, or a bundled name.
        architecture: That of its encoder; empty where it is not known.
        facts: Task, preprocessing, origin, training, versions, each as it was written, where it was; and
            `conformal`: on how many validation galaxies its errors are known, by what is predicted.
    """

    name: str
    architecture: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_config(cls, name: str, config: dict[str, Any]) -> ModelFacts:
        """Made from the content of config.json."""
        ours = config.get("zoobot") or {}
        facts = {part: ours[part] for part in _OF_MODELS if ours.get(part)}
        errors = ours.get("conformal") or {}
        if errors.get("of"):  # of the errors on validation galaxies, how many there are
            facts["conformal"] = {name: kept["galaxies"] for name, kept in errors["of"].items()}
        elif errors:
            facts["conformal"] = errors
        return cls(name=name, architecture=str(config.get("architecture") or ""), facts=facts)

    def to_config(self) -> dict[str, Any]:
        """What a run's record keeps of it, JSON-ready."""
        return {"name": self.name, "architecture": self.architecture, "zoobot": self.facts}

    @property
    def task(self) -> Task | None:
        """What it predicts; None of an encoder alone, and where it is not known."""
        said = self.facts.get("task")
        return tasks.from_config(said) if said and said.get("kind") != FeatureTask.kind else None

    @property
    def pixels(self) -> Preprocessing | None:
        """How it looks at images; None where it is not known."""
        said = self.facts.get("preprocessing")
        return Preprocessing.from_config(said) if said else None

    @property
    def training(self) -> dict[str, Any]:
        """The record of its training."""
        return dict(self.facts.get("training") or {})


@dataclass(frozen=True, kw_only=True)
class Account:
    """What is known of a run, a model or a table.

    Args:
        work: What made it: "finetune", "train", "evaluate", "predict" …; "model" of a model without a run.
        models: The models that it taught or used; none where the records don't say.
        record: The content of its run.json; empty without one.
        evaluation: The content of its evaluation.json, likewise.
        degradation: The content of its degradation.json, likewise.
        split: How many galaxies went where, as split.parquet has it, `failed` among them; None without it.
        failures: How many images could not be read; None where nothing says.
        is_public: Whether it goes to others: names of files are left out then.
    """

    work: str
    models: tuple[ModelFacts, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    degradation: dict[str, Any] = field(default_factory=dict)
    split: dict[str, int] | None = None
    failures: int | None = None
    is_public: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for."""
        return dict(self.record.get("options") or {})

    @property
    def model(self) -> ModelFacts | None:
        """The only model, or the first."""
        return self.models[0] if self.models else None

    def told(self, row: str) -> str:
        """What the run said before it began, in the row of that name; empty where it said nothing."""
        lines = [line.strip() for line in self.record.get("told") or [] if isinstance(line, str)]
        found = [line.removeprefix(row).strip() for line in lines if line.split("  ")[0] == row]
        return found[0] if found else ""

    def for_others(self) -> Account:
        """The same without names of files."""
        models = tuple(replace(m, name="", facts=facts_for_others(m.facts)) for m in self.models)
        return replace(self, models=models, is_public=True)


def is_public_name(encoder: str) -> bool:
    """Whether an encoder is called by a name that means the same anywhere, not by a folder.

    Example:
        >>> is_public_name("hf_hub:owner/name"), is_public_name("zoobot-mini"), is_public_name("/data/rings")
        (True, True, False)
    """
    return encoder.startswith(("hf_hub:", "hf-hub:")) or not _IS_PLACE.search(encoder)


def facts_for_others(ours: dict[str, Any]) -> dict[str, Any]:
    """What config.json says under "zoobot", without what is its author's alone.

    What prediction needs stays as it is. Of the rest numbers stay; texts go that may name a place, and so do
    commands, catalogs and their fingerprints.

    Example:
        >>> facts_for_others({"training": {"epoch": 3, "calibration": {"command": "zoobot …", "n": 7}}})
        {'training': {'epoch': 3, 'calibration': {'n': 7}}}
    """
    cleaned = {part: _without_places(ours[part]) for part in ("training", "versions") if ours.get(part)}
    origin = Origin.from_config(ours.get("origin"))
    if origin is not None:
        named = is_public_name(origin.encoder)
        pixels = origin.pixels if named else origin.pixels.replace(origin.encoder, UNNAMED)
        pixels = "" if _IS_PLACE.search(pixels.replace(origin.encoder, "")) else pixels
        cleaned["origin"] = replace(
            origin, encoder=origin.encoder if named else UNNAMED, pixels=pixels
        ).to_config()
    return {**ours, **cleaned}


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_places(one) for name, one in value.items() if name not in _OF_AUTHORS}
        return {name: one for name, one in kept.items() if one is not None}
    if isinstance(value, list):
        return [one for one in map(_without_places, value) if one is not None]
    return None if isinstance(value, str) and _IS_PLACE.search(value) else value


def facts_of_models(places: Sequence[str | Path], models: Sequence[Any]) -> list[dict[str, Any]]:
    """What a run's record keeps of the models that it uses, JSON-ready.

    Args:
        places: Their checkpoints, or exported files.
        models: What was loaded from each; how they look at images the run may have changed.
    """
    kept = []
    for place, model in zip(places, models, strict=True):
        exported = isinstance(model, OnnxModel)
        told = _exported(Path(place).name, model) if exported else _model_at(place)
        pixels = {"preprocessing": model.preprocessing.to_config()}
        kept.append(replace(told, facts={**told.facts, **pixels}).to_config())
    return kept


def read_account(place: str | Path) -> Account:
    """What is known of a run's folder, a model, or a table of predictions.

    Args:
        place: A folder of a run or of parts, a table, a checkpoint, an exported file, `hf_hub:owner/name`, or
            a bundled name.

    Raises:
        ZoobotError: If it is none of these.
    """
    path = Path(place).expanduser()
    if is_onnx_file(place):
        return Account(work="model", models=(_model_at(place),))
    if path.is_file():
        of_run = read_record(path.parent) if path.name == _PREDICTIONS else None
        return _account_of_table(path) if of_run is None else _account_of_run(path.parent, of_run.content)
    record = read_record(path) if path.is_dir() else None
    if record is not None:
        return _account_of_run(path, record.content)
    if (path / "_runs").is_dir():
        return _account_of_parts(path)
    if str(place) in bundled_names() and bundled_checkpoint(place) is None and not path.exists():
        return Account(work="model", models=(_bundled_encoder(str(place)),))
    try:
        checkpoint = find_checkpoint(place)
    except CheckpointError as error:
        raise CheckpointError(
            f"there is no run, table of predictions or model in {place}: {error}"
        ) from error
    made_by = read_record(checkpoint.parent) if checkpoint.name == "checkpoint" else None
    if made_by is not None and made_by.content["work"] in TEACHING:
        return _account_of_run(checkpoint.parent, made_by.content)
    return Account(work="model", models=(_model_at(place),))


def _bundled_encoder(name: str) -> ModelFacts:
    source = bundled_encoder(name)
    pixels = {"preprocessing": source.preprocessing.to_config()}
    return ModelFacts(name=name, architecture=source.architecture, facts=pixels)


def _model_at(place: str | Path) -> ModelFacts:
    if is_onnx_file(place):
        return _exported(Path(place).name, OnnxModel(place))
    folder = find_checkpoint(place)
    return ModelFacts.of_config(_called(place, folder), read_config(folder))


def _exported(name: str, model: OnnxModel) -> ModelFacts:
    said = {"task": model.task.to_config(), "preprocessing": model.preprocessing.to_config()}
    return ModelFacts(name=name, facts={**said, "versions": model.versions})


def _called(place: str | Path, folder: Path) -> str:
    """A model's name without the folders that lead to it."""
    text = str(place)
    bundled = bundled_checkpoint(folder.name)
    if bundled is not None and bundled == folder:
        return folder.name
    if text.startswith(("hf_hub:", "hf-hub:")):
        return text
    absolute = folder.absolute()
    cached = _IN_CACHE.search(absolute.as_posix())
    if cached is not None:
        return f"hf_hub:{cached[1]}/{cached[2]}@{cached[3]}"
    return absolute.parent.name if absolute.name == "checkpoint" else absolute.name


def _account_of_run(folder: Path, record: dict[str, Any]) -> Account:
    work = record["work"]
    evaluation = _read_json(folder / "evaluation.json")
    models: tuple[ModelFacts, ...] = ()
    if work in TEACHING:
        checkpoint = folder / "checkpoint"
        models = (_model_at(checkpoint),) if checkpoint.is_dir() else ()
    split = _count_split(folder / "split.parquet")
    failures = evaluation.get("failures") if split is None else split.get("failed", 0)
    return Account(
        work=work,
        models=models or _kept_models(record),
        record=record,
        evaluation=evaluation,
        degradation=_read_json(folder / "degradation.json"),
        split=split,
        failures=failures,
    )


def _account_of_table(path: Path) -> Account:
    record = read_record_file(path.with_suffix(".run.json"))
    try:
        metadata = read_prediction_metadata(path)
    except PredictionsError:
        if record is None:
            raise
        metadata = {}
    if record is None and not metadata:
        raise ConfigError(
            f"nothing tells how {path} came about: it holds no metadata, and "
            f"{path.with_suffix('.run.json').name} is not beside it. Give the run's folder, or the model"
        )
    return _account_of_predictions({} if record is None else record.content, metadata)


def _account_of_parts(folder: Path) -> Account:
    parts = Parts(folder)
    records = sorted((folder / "_runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    record = read_record_file(records[-1]) if records else None
    content = {} if record is None else record.content
    failures, metadata = parts.count_failures(), parts.read_metadata()
    catalog = {"source": metadata.get("catalog"), "galaxies": parts.manifest.count(parts.done)}
    told = {"data": {"catalog": catalog}, "failures": failures}
    return _account_of_predictions({**content, **told}, metadata)


def _account_of_predictions(record: dict[str, Any], metadata: dict[str, Any]) -> Account:
    """Of a table; what its record does not say, its metadata may."""
    models = _kept_models(record)
    if not models and metadata.get("task"):
        facts = {part: metadata[part] for part in ("task", "preprocessing") if metadata.get(part)}
        models = (ModelFacts(name=_asked_for(record), facts=facts),)
    versions = record.get("versions") or {name: metadata[name] for name in ("zoobot",) if metadata.get(name)}
    data = record.get("data") or {
        "catalog": {"source": metadata["catalog"]} if metadata.get("catalog") else {}
    }
    options = {name: metadata[name] for name in ("n_samples", "n_members") if metadata.get(name)}
    told = {"options": {**options, **(record.get("options") or {})}, "versions": versions, "data": data}
    return Account(
        work=str(record.get("work", "predict")),
        models=models,
        record={**record, **told},
        failures=record.get("failures"),
    )


def _asked_for(record: dict[str, Any]) -> str:
    """How a run calls the model that it was to use, where it kept no more of it, without its folders."""
    asked = (record.get("options") or {}).get("checkpoint")
    if not isinstance(asked, str) or is_public_name(asked):
        return asked if isinstance(asked, str) else ""
    place = Path(asked)
    return place.parent.name if place.name == "checkpoint" else place.name


def _kept_models(record: dict[str, Any]) -> tuple[ModelFacts, ...]:
    """The models that a run used, as its record keeps them; none where it does not."""
    kept = record.get("models")
    good = [one for one in kept if isinstance(one, dict)] if isinstance(kept, list) else []
    return tuple(ModelFacts.of_config(str(one.get("name", "")), one) for one in good)


def _count_split(path: Path) -> dict[str, int] | None:
    if not path.is_file():
        return None
    import pandas as pd

    return {str(part): int(n) for part, n in pd.read_parquet(path)["split"].value_counts().items()}


def _read_json(path: Path) -> dict[str, Any]:
    """The content of a file of ours; empty where there is none.

    Raises:
        ConfigError: If it is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    return content
