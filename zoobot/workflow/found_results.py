"""What lies under the name of some results: a table of predictions, its task, its model and its catalog."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoobot.shared import tasks
from zoobot.shared.catalogs.places import place_arguments
from zoobot.shared.checkpoint import read_config
from zoobot.shared.errors import ConfigError, PredictionsError
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.options.galaxies import ImagePlaceOptions
from zoobot.shared.parts.files import MANIFEST_FILE, PartFolder
from zoobot.shared.predictions import read_prediction_metadata
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.run_folder import RECORD_FILE, RunRecord, read_record, read_record_file

if TYPE_CHECKING:
    from zoobot.shared.tasks import Task

__all__ = ["FoundResults", "find_results"]

_TABLE = "predictions.parquet"


class FoundResults(NamedTuple):
    """Predictions, and what is known of how they came about.

    Attributes:
        table: The table, or the folder of its parts.
        task: What was predicted.
        preprocessing: How the model reads images; None where nothing says.
        checkpoint: The model's folder; None where nothing says.
        catalogs: Where its galaxies are listed, if the table or the record says: the catalog, and the other
            arguments of `read_catalog`.
        samples: How many predictions there are of each galaxy; 1 where nothing says.
    """

    table: Path
    task: Task
    preprocessing: Preprocessing | None
    checkpoint: str | None
    catalogs: list[tuple[str, dict[str, Any]]]
    samples: int


def find_results(place: str | Path, *, checkpoint: str | None = None) -> FoundResults:
    """What lies there.

    Args:
        place: The folder of a run of finetune, train or evaluate; a table or a folder of `zoobot predict`.
        checkpoint: The model that predicted; None takes what the results say.

    Raises:
        PredictionsError: If there are no predictions, or nothing says of which task they are.
        ConfigError: If a record can't be read.
        CheckpointError: If the model is none.
    """
    table, record, folder = _find_table(Path(place).expanduser())
    options: dict[str, Any] = {} if record is None else record.content["options"]
    facts = read_prediction_metadata(table)
    if checkpoint is None:
        checkpoint = _checkpoint_of_run(folder, options)
    task, preprocessing = facts.get("task"), facts.get("preprocessing")
    if task is None or preprocessing is None:
        if checkpoint is None:
            msg = f"{table} does not say of which task it is: give the model that predicted it (--checkpoint)"
            raise PredictionsError(msg)
        ours = read_config(find_checkpoint(checkpoint)).get("zoobot") or {}
        task, preprocessing = ours.get("task"), ours.get("preprocessing")
        if task is None:
            msg = f"{checkpoint} is an encoder alone: give the model that predicted {table} (--checkpoint)"
            raise PredictionsError(msg)
    if isinstance(preprocessing, list):  # of an ensemble whose members read images in several ways
        preprocessing = preprocessing[0]
    place_of_catalog = facts.get("place")
    return FoundResults(
        table=table,
        task=tasks.from_config(task),
        preprocessing=None if preprocessing is None else Preprocessing.from_config(preprocessing),
        checkpoint=checkpoint,
        catalogs=_catalogs_of_record(options) if place_of_catalog is None else [_catalog(place_of_catalog)],
        samples=int(facts.get("n_samples", 1)),
    )


def _find_table(place: Path) -> tuple[Path, RunRecord | None, Path | None]:
    """The predictions, the record of the run that made them, and the run's folder, if it has its own."""
    if not place.exists():
        msg = f"no results at {str(place)!r}"
        raise PredictionsError(msg)
    if place.is_file():
        if place.name == _TABLE and (place.parent / RECORD_FILE).is_file():
            return place, read_record(place.parent), place.parent
        return place, read_record_file(place.with_suffix(".run.json")), None
    if (place / MANIFEST_FILE).is_file():
        records = sorted(PartFolder(place).runs.glob("*.json"))
        return place, read_record_file(records[0]) if records else None, None
    if (place / _TABLE).is_file():
        return place / _TABLE, read_record(place), place
    msg = (
        f"{place} holds neither {_TABLE}, as runs of `zoobot finetune`, `train` and `evaluate` leave it, nor "
        "parts of `zoobot predict`"
    )
    raise PredictionsError(msg)


def _checkpoint_of_run(folder: Path | None, options: dict[str, Any]) -> str | None:
    if folder is not None and (folder / "checkpoint").is_dir():
        return str(folder / "checkpoint")
    named = options.get("checkpoint")
    return named if isinstance(named, str) else None


def _catalog(place: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return place["catalog"], place_arguments(place)


def _catalogs_of_record(options: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All that a run was given: of a finetuning, any of them may hold the galaxies that were scored on."""
    found: list[str] = []
    for name in ("catalog", "val_catalog", "test_catalog"):
        given = options.get(name) or ()
        found += [given] if isinstance(given, str) else given
    if not all(isinstance(one, str) for one in found):
        msg = f"the record of the run names catalogs that are no texts: {found!r}"
        raise ConfigError(msg)
    known = {f.name for f in fields(ImagePlaceOptions)}
    places = ImagePlaceOptions.from_config({k: v for k, v in options.items() if k in known})
    return [(one, places.catalog_arguments()) for one in found]
