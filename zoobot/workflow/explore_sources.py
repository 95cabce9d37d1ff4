"""The galaxies of an explorer page: found results, their images, and known labels."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.explorer import Column, Contents, Positions, Text, Thumbnails, known_positions, make_thumbnails
from zoobot.options.groups import ImagePlaceOptions, ReadingOptions
from zoobot.shared import tasks
from zoobot.shared.catalog import Catalog, check_columns, read_catalog
from zoobot.shared.catalogs.columns import read_labels
from zoobot.shared.catalogs.cutouts import place_arguments
from zoobot.shared.catalogs.galaxy_files import file_columns
from zoobot.shared.checkpoint import read_config
from zoobot.shared.errors import CatalogError, ConfigError, LabelError, PredictionsError
from zoobot.shared.files.table_checks import find_column
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.predictions import read_prediction_metadata, read_samples
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.settings import OptionsType
from zoobot.shared.tables.formats import FORMATS
from zoobot.shared.tables.part_folder import MANIFEST_FILE, PartFolder
from zoobot.shared.votes import check_votes
from zoobot.workflow.galaxies import read_classes, select_galaxies
from zoobot.workflow.run_folder import RECORD_FILE, RunRecord, read_record, read_record_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoobot.options.explore import ExploreOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.tasks import Task

# The labels that a catalog happens to have of predicted galaxies.

logger = logging.getLogger("zoobot")


def known_labels(task: Task, galaxies: Catalog) -> NDArray:
    """The labels that a catalog happens to have, NaN for others; those that can't be right are told of."""
    labels = np.full((len(galaxies), task.num_label_cols), np.nan)
    there = set(galaxies.table.columns)
    try:
        if task.predicts == "classes":
            labels[:, 0] = _known_classes(task, galaxies)
            return labels
        for group in task.groups:
            names = task.label_cols[group.slice]
            if names and there.issuperset(names):
                labels[:, group.slice] = read_labels(galaxies.table, names, galaxies.ids, galaxies.name)
        if task.tree is not None:
            check_votes(labels, task.tree, galaxies.ids)
    except LabelError as error:
        logger.warning("No labels are shown: %s", error)
        return np.full_like(labels, np.nan)
    return labels


def _known_classes(task: Task, galaxies: Catalog) -> NDArray:
    """The number of each galaxy's class; NaN where its cell is empty, or the column is absent."""
    codes = np.full(len(galaxies), np.nan)
    if not task.label_cols or task.label_cols[0] not in galaxies.table:
        return codes
    column = galaxies.table[task.label_cols[0]]
    known = (column.notna() & (column.astype(str).str.strip() != "")).to_numpy()
    if known.any():
        labelled = galaxies.select(known)
        encoded, _ = read_classes(labelled, task.label_cols[0], task.groups[0].answers)
        codes[known] = np.asarray(encoded.labels)[:, 0]
    return codes


# What lies under the name of some results: a table of predictions, its task, its model and its catalog.

_TABLE = "predictions.parquet"
_NO_CATALOG = "nothing says where its image is"
_NOT_ASKED_FOR = "no pictures were asked for"
_LOOKED_AT_PIX, _LABELLED_PIX = 160, 256


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
    reading: dict[str, Any] = {}
    if task is None or preprocessing is None:
        if checkpoint is None:
            msg = f"{table} does not say of which task it is: give the model that predicted it (--checkpoint)"
            raise PredictionsError(msg)
        ours = read_model(checkpoint)
        task, preprocessing = ours.get("task"), ours.get("preprocessing")
        if task is None:
            msg = f"{checkpoint} is an encoder alone: give the model that predicted {table} (--checkpoint)"
            raise PredictionsError(msg)
        if record is not None and record.content.get("work") == "predict":
            reading = _of_record(options, ReadingOptions).image_changes()  # as the model's, but for these
    place_of_catalog = facts.get("place")
    return FoundResults(
        table=table,
        task=tasks.from_config(task),
        preprocessing=as_preprocessing(preprocessing, **reading),
        checkpoint=checkpoint,
        catalogs=_catalogs_of_record(options) if place_of_catalog is None else [_catalog(place_of_catalog)],
        samples=int(facts.get("n_samples", 1)),
    )


def holds_predictions(place: Path) -> bool:
    """Whether predictions lie there that say of which task they are; a catalog may lie there otherwise."""
    if place.is_dir():
        return (place / _TABLE).is_file() or (place / MANIFEST_FILE).is_file()
    if not place.is_file() or place.suffix.lower() not in FORMATS:
        return False
    record = read_record_file(place.with_suffix(".run.json"))
    if place.name == _TABLE or (record is not None and record.content.get("work") == "predict"):
        return True
    return "task" in read_prediction_metadata(place)


def _find_table(place: Path) -> tuple[Path, RunRecord | None, Path | None]:
    """The predictions, the record of the run that made them, and the run's folder, if it has its own."""
    if not place.exists():
        raise PredictionsError(f"no results at {str(place)!r}")
    if place.is_file():
        if place.name == _TABLE and (place.parent / RECORD_FILE).is_file():
            return place, read_record(place.parent), place.parent
        return place, read_record_file(place.with_suffix(".run.json")), None
    if (place / MANIFEST_FILE).is_file():
        records = sorted(PartFolder(place).runs.glob("*.json"))
        return place, read_record_file(records[0]) if records else None, None
    if (place / _TABLE).is_file():
        return place / _TABLE, read_record(place), place
    raise PredictionsError(
        f"{place} holds neither {_TABLE}, as runs of `zoobot finetune`, `train` and `evaluate` leave it, nor "
        "parts of `zoobot predict`"
    )


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
        raise ConfigError(f"the record of the run names catalogs that are no texts: {found!r}")
    found = [one for one in found if not one.startswith("<")]  # in memory, and gone
    return [(one, _of_record(options, ImagePlaceOptions).catalog_arguments()) for one in found]


def _of_record(options: dict[str, Any], kind: type[OptionsType]) -> OptionsType:
    """Those of a run's options that are of a kind."""
    known = {f.name for f in fields(kind)}
    return kind.from_config({k: v for k, v in options.items() if k in known})


def read_model(checkpoint: str) -> dict[str, Any]:
    """What a model's record says of its `task` and `preprocessing`; nothing of them, of an encoder alone.

    Raises:
        CheckpointError: If it is no model.
    """
    return read_config(find_checkpoint(checkpoint)).get("zoobot") or {}


def as_preprocessing(record: Any, **changes: Any) -> Preprocessing | None:
    """How images are read, as a record says; of an ensemble whose members differ, as the first reads them."""
    first = record[0] if isinstance(record, list) else record
    return None if first is None else Preprocessing.from_config(first).with_changes(**changes)


class Page(NamedTuple):
    """A page, and what else came out.

    Attributes:
        contents: What it shows.
        of: Of how many galaxies.
        failures: Those whose image could not be read: `id_str`, `file_loc`, `reason`.
        next_step: What to do with it.
    """

    contents: Contents
    of: int
    failures: pd.DataFrame
    next_step: str = ""


def failed_pictures(ids: Sequence[str], paths: Sequence[str | None], reasons: Sequence[str]) -> pd.DataFrame:
    """The galaxies that have an image of which no picture could be made."""
    rows = [
        (galaxy, path, reason)
        for galaxy, path, reason in zip(ids, paths, reasons, strict=True)
        if reason and path is not None
    ]
    return pd.DataFrame(rows, columns=["id_str", "file_loc", "reason"])


def draw_thumbnails(
    paths: Sequence[str | None], reading: Preprocessing | None, options: ExploreOptions, *, has_catalog: bool
) -> Thumbnails:
    """The pictures of galaxies, as the model sees them, or with as much around as was asked for.

    Args:
        paths: Where their images are; None of galaxies that are in no catalog.
        reading: How the model reads images; None where nothing says.
        options: Size, and the part that is shown.
        has_catalog: Whether there is a catalog at all.
    """
    if not options.images:
        return Thumbnails.none(len(paths), _NOT_ASKED_FOR)
    if not has_catalog:
        return Thumbnails.none(len(paths), _NO_CATALOG)
    reading = reading or Preprocessing()
    crop = options.crop_fraction or reading.crop_fraction
    size = options.thumbnail_pix or (_LOOKED_AT_PIX if options.annotate is None else _LABELLED_PIX)
    changes = {**options.image_changes(), "image_size_pix": size, "crop_fraction": crop}
    reading = reading.with_changes(**changes)
    return make_thumbnails(paths, reading, num_workers=options.num_workers, progress=options.progress)


class Explored(NamedTuple):
    """What a catalog knows of the galaxies of a page.

    Attributes:
        paths: Where each image is; None of galaxies that are in no catalog.
        labels: (galaxies, label columns), NaN where unknown.
        columns: Numbers of the catalog that were asked for.
        texts: Where the catalog says that images are, and words that were asked for.
        places: Where it says that images are, a text for each of its columns.
        positions: Where they are on the sky; None if no catalog says.
    """

    paths: list[str | None]
    labels: NDArray
    columns: list[Column]
    texts: list[Text]
    places: list[Text]
    positions: Positions | None


def list_predicted(found: FoundResults, options: ExploreOptions, catalogs: Sequence[Catalog]) -> list[str]:
    """The galaxies with predictions, in the order of these.

    Raises:
        CatalogError: If none is left.
    """
    wanted = None if options.select is None else {galaxy for one in catalogs for galaxy in one.ids}
    ids = [
        galaxy
        for part, _ in read_samples(found.table, found.task.output_columns)
        for galaxy in part
        if wanted is None or galaxy in wanted
    ]
    if not ids:
        selected = "" if options.select is None else f" of a galaxy with {options.select}"
        raise CatalogError(f"{found.table} holds no prediction{selected}")
    return ids


def choose_galaxies(ids: list[str], options: ExploreOptions) -> list[str]:
    """The galaxies of the page: of too many a random sample, or, to be labelled in their order, the first."""
    if len(ids) > options.n:
        which = "a random" if options.annotate is None or options.shuffle else "the first"
        logger.warning("%s galaxies: the page has %s %s (--n)", f"{len(ids):,}", which, f"{options.n:,}")
    rows = np.arange(min(len(ids), options.n))
    if options.shuffle or (len(ids) > options.n and options.annotate is None):
        rows = np.random.default_rng(options.seed).permutation(len(ids))[: options.n]
    return [ids[row] for row in (rows if options.shuffle else np.sort(rows))]


def read_chosen(found: FoundResults, ids: Sequence[str]) -> NDArray:
    """The predictions of some galaxies, in their order: (samples, galaxies, outputs)."""
    row = {galaxy: row for row, galaxy in enumerate(ids)}
    chosen: NDArray | None = None
    for part, values in read_samples(found.table, found.task.output_columns):
        there = [place for place, galaxy in enumerate(part) if galaxy in row]
        if chosen is None:
            chosen = np.full((len(values), len(ids), values.shape[-1]), np.nan)
        chosen[:, [row[part[place]] for place in there]] = values[:, there]
    if chosen is None:
        chosen = np.empty((1, 0, len(found.task.output_columns)))
    return chosen


def open_catalogs(found: FoundResults, options: ExploreOptions) -> list[Catalog]:
    """The catalogs that were named, or those of the run that predicted; none where nothing says.

    Raises:
        CatalogError: If one can't be used, or that of the run is no longer there.
    """
    sources = found.catalogs
    if options.catalog is not None:
        sources = [(options.catalog, options.catalog_arguments())]
    if not sources:
        for flag, given in (("--select", options.select), ("--columns", options.columns)):
            if given:
                msg = f"{flag} needs the catalog, which {found.table} does not name: give it (--catalog)"
                raise CatalogError(msg)
        return []
    opened = []
    web = options.web_access() or False  # the user's word: no record of a run allows it
    for source, arguments in sources:
        try:
            galaxies = read_catalog(source, check_files=False, **{**arguments, "allow_urls": web})
        except CatalogError as error:
            if options.catalog is not None:
                raise
            raise CatalogError(
                f"the catalog of the run that predicted can't be read: {error}. Start from the folder that "
                "the run was started from, or give --catalog"
            ) from error
        opened.append(galaxies if options.select is None else select_galaxies(galaxies, options.select))
    return opened


def list_galaxies(
    ids: Sequence[str], catalogs: Sequence[Catalog], task: Task | None, options: ExploreOptions
) -> Explored:
    """What catalogs know of some galaxies; of a galaxy in several the first counts.

    Args:
        ids: The galaxies.
        catalogs: The catalogs, or none.
        task: What was predicted, for the labels; None leaves them out.
        options: Further columns to show.

    Raises:
        CatalogError: If the catalogs have none of the galaxies, or not a column that is asked for.
    """
    row = {galaxy: row for row, galaxy in enumerate(ids)}
    paths: list[str | None] = [None] * len(ids)
    labels = np.full((len(ids), 0 if task is None else task.num_label_cols), np.nan)
    places: dict[str, list[str]] = {}
    tables = []
    for catalog in catalogs:
        there = [k for k, galaxy in enumerate(catalog.ids) if galaxy in row and paths[row[galaxy]] is None]
        known = catalog.select(there)
        rows = [row[galaxy] for galaxy in known.ids]
        for place, path in zip(rows, known.paths, strict=True):
            paths[place] = path
        if rows:
            for column in _file_cols(known):
                spelled = places.setdefault(column, [""] * len(ids))
                for place, text in zip(rows, _as_text(known.table[column]), strict=True):
                    spelled[place] = text
            if task is not None:
                labels[rows] = known_labels(task, known)
            tables.append(known.table.set_axis(rows))
    if not catalogs:
        return Explored(paths, labels, [], [], [], None)
    _tell_missing(paths, catalogs)
    table = pd.concat(tables).reindex(np.arange(len(ids)))
    check_columns(table, options.columns, _names(catalogs))
    columns: list[Column] = []
    joined = [" ".join(filter(None, parts)) for parts in zip(*places.values(), strict=True)]
    texts = [Text("file_loc", "Image", joined)]
    for name in options.columns:
        if pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name]):
            columns.append(Column(name, name, table[name].to_numpy(dtype=np.float64, na_value=np.nan)))
        else:
            texts.append(Text(name, name, _as_text(table[name])))
    name = "file_loc" if len(places) == 1 else ""
    spelled_out = [Text(name or column, column, spelled) for column, spelled in places.items()]
    return Explored(paths, labels, columns, texts, spelled_out, _find_positions(table, catalogs, options))


def _find_positions(
    table: pd.DataFrame, catalogs: Sequence[Catalog], options: ExploreOptions
) -> Positions | None:
    """Where galaxies are on the sky, if their catalogs say so; what can't be is told of and left out."""
    asked = (options.ra_col, options.dec_col)
    ra_col, dec_col = (find_column(name, list(table.columns)) for name in asked)
    if not {ra_col, dec_col} <= set(table.columns):
        named = [one for one, usual in zip(asked, ("ra", "dec"), strict=True) if one != usual]
        check_columns(table, named, _names(catalogs))
        return None
    values = [
        pd.to_numeric(table[name], errors="coerce").to_numpy(float, na_value=np.nan)
        for name in (ra_col, dec_col)
    ]
    unread = np.isnan(values) & table[[ra_col, dec_col]].notna().to_numpy().T
    positions, odd = known_positions(*np.where(unread, np.inf, values))
    if odd:
        logger.warning(
            "%s galaxies have no position that can be in %s and %s, which must hold degrees: no links to the "
            "sky for them",
            f"{odd:,}",
            ra_col,
            dec_col,
        )
    return None if np.isnan(positions.ra).all() else positions


def _tell_missing(paths: Sequence[str | None], catalogs: Sequence[Catalog]) -> None:
    missing = paths.count(None)
    if missing == len(paths):
        raise CatalogError(f"{_names(catalogs)} has none of the {missing:,} galaxies that were predicted")
    if missing:
        logger.warning("%s galaxies are not in %s: no pictures of them", f"{missing:,}", _names(catalogs))


def _names(catalogs: Sequence[Catalog]) -> str:
    return " and ".join(catalog.name for catalog in catalogs)


def _file_cols(catalog: Catalog) -> tuple[str, ...]:
    """The column, or those of bands, that say where images are, as the catalog was read."""
    return file_columns("file_loc" if catalog.place is None else catalog.place["file_col"])


def _as_text(column: pd.Series) -> list[str]:
    return ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
