"""The guided making of an explorer page: results of a run, or predictions, as one HTML file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.explorer import Contents, Described, Neighbours, describe_predictions, find_neighbours, write_page
from zoobot.shared.catalog import Catalog
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError
from zoobot.shared.features.tables import read_features
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.tables.destination import failures_of, refuse_existing
from zoobot.workflow.explore_labels import page_to_label
from zoobot.workflow.explore_sources import (
    FoundResults,
    Page,
    choose_galaxies,
    draw_thumbnails,
    failed_pictures,
    find_results,
    list_galaxies,
    list_predicted,
    open_catalogs,
    read_chosen,
)
from zoobot.workflow.members import represent_galaxies
from zoobot.workflow.predict import save_failures
from zoobot.workflow.reporting import Reported, failure_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.options.explore import ExploreOptions

logger = logging.getLogger("zoobot")


def find_look_alikes(
    ids: list[str], paths: Sequence[str | None], found: FoundResults, options: ExploreOptions
) -> Neighbours | None:
    """The look-alikes of each galaxy, where there are features, or a model to encode with."""
    if options.encode:
        if found.checkpoint is None:
            msg = f"--encode needs the model, which {found.table} does not name: give it (--checkpoint)"
            raise ConfigError(msg)
        engine = load_engine(options.backend)
        model = engine.checkpoint.load(find_checkpoint(found.checkpoint))
        if found.preprocessing is not None:  # read as they were when they were predicted
            read_otherwise(model, found.preprocessing.to_config())
        changes = options.image_changes()
        changes.pop("crop_fraction", None)  # it is for the pictures that the page shows
        read_otherwise(model, changes)
        galaxies = _catalog_of(ids, paths, found)
        logger.info("Encoding %s galaxies", f"{len(galaxies):,}")
        encoded = represent_galaxies(engine, model, galaxies, options)
        return find_neighbours(ids, encoded.ids, encoded.features, count=options.neighbours)
    if options.features is None:
        return None
    table = read_features(options.features)
    missing = len(set(ids) - set(table.ids))
    if missing == len(ids):
        raise PredictionsError(f"{options.features} has features of none of the {len(ids):,} galaxies")
    if missing:
        logger.warning("%s galaxies have no features, and no look-alikes", f"{missing:,}")
    return find_neighbours(ids, table.ids, table.features, count=options.neighbours)


def _catalog_of(ids: Sequence[str], paths: Sequence[str | None], found: FoundResults) -> Catalog:
    """The galaxies whose images someone knows."""
    there = [(galaxy, path) for galaxy, path in zip(ids, paths, strict=True) if path is not None]
    if not there:
        raise CatalogError(f"--encode needs images, but no catalog has those of {found.table} (--catalog)")
    names, places = map(list, zip(*there, strict=True))
    return Catalog(names, places, None, (), pd.DataFrame(index=np.arange(len(names))), str(found.table))


@dataclass(frozen=True, kw_only=True, repr=False)
class ExploreResult(Reported):
    """A page.

    Args:
        save_loc: The file.
        galaxies: How many galaxies it shows.
        predicted: Of how many these are a part; the same number if of all.
        megabytes: Its size.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        next_step: What to do with a page to label galaxies; empty for one to look through.
    """

    save_loc: Path
    galaxies: int
    predicted: int
    megabytes: float
    failures: pd.DataFrame
    next_step: str = ""

    def report(self) -> str:
        """What came out, as a text to read."""
        which = "of" if self.next_step else "a random sample of"
        of_all = "" if self.galaxies == self.predicted else f" ({which} {self.predicted:,})"
        galaxies = "1 galaxy" if self.galaxies == 1 else f"{self.galaxies:,} galaxies"
        lines = ["", f"{galaxies}{of_all}, {self.megabytes:.1f} MB: {self.save_loc}"]
        lines += [self.next_step] if self.next_step else []
        return "\n".join([*lines, *failure_lines(self.failures, failures_of(self.save_loc))])


def explore(options: ExploreOptions) -> ExploreResult:
    """Make a page of galaxies and their predictions, or one to label galaxies.

    Beside it lies `NAME.failures.csv` where images failed.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the results, the catalog, the features or the model can't be used, or the page exists.
    """
    save_loc = _free_place(options)
    title = options.heading or _name_of(options.results)
    page = (
        page_to_look_at(options, title)
        if options.annotate is None
        else page_to_label(options, title, save_loc)
    )
    write_page(save_loc, page.contents)
    return ExploreResult(
        save_loc=save_loc,
        galaxies=len(page.contents.ids),
        predicted=page.of,
        megabytes=save_loc.stat().st_size / 1e6,
        failures=save_failures(page.failures, failures_of(save_loc)),
        next_step=page.next_step,
    )


def page_to_look_at(options: ExploreOptions, title: str) -> Page:
    """The page of predictions, of all galaxies or a random sample."""
    found = find_results(options.results, checkpoint=options.checkpoint)
    catalogs = open_catalogs(found, options)
    predicted = list_predicted(found, options, catalogs)
    ids = choose_galaxies(predicted, options)
    known = list_galaxies(ids, catalogs, found.task, options)
    described = describe_predictions(
        found.task, read_chosen(found, ids), known.labels, level=options.level, kind=options.interval
    )
    _tell_unusable(described)
    neighbours = find_look_alikes(ids, known.paths, found, options)
    if options.images and not catalogs:
        logger.warning("%s names no catalog: a page without pictures (--catalog)", found.table)
    thumbnails = draw_thumbnails(known.paths, found.preprocessing, options, has_catalog=bool(catalogs))
    contents = Contents(
        title=title,
        facts=_facts(found, catalogs, options, len(ids), len(predicted)),
        ids=ids,
        columns=[*described.columns, *known.columns],
        texts=[*described.texts, *known.texts],
        charts=described.charts,
        thumbnails=thumbnails,
        interval=f"{options.level:.0%} interval",
        neighbours=neighbours,
        positions=known.positions,
    )
    failures = failed_pictures(ids, known.paths, thumbnails.reasons if options.images else [""] * len(ids))
    return Page(contents, len(predicted), failures)


def _tell_unusable(described: Described) -> None:
    """Warn of galaxies of which nothing is shown: their predictions are no finite numbers, or impossible."""
    bars = [described.columns[bar.value].values for chart in described.charts for bar in chart.bars]
    unusable = int(np.isnan(bars).all(axis=0).sum())
    if unusable:
        logger.warning(
            "The predictions of %s galaxies can't be used: they are shown without", f"{unusable:,}"
        )


def _free_place(options: ExploreOptions) -> Path:
    """Where the page goes: without a word beside the results, under their name."""
    if options.save_loc is not None:
        path = Path(options.save_loc).expanduser().absolute()
    else:
        results = Path(options.results).expanduser().absolute()
        path = results.with_name(f"{results.name}.html") if results.is_dir() else results.with_suffix(".html")
    refuse_existing(path, overwrite=options.overwrite)
    return path


def _name_of(results: str) -> str:
    path = Path(results).expanduser().absolute()
    return path.name if path.is_dir() else path.stem


def _facts(
    found: FoundResults, catalogs: Sequence[Catalog], options: ExploreOptions, shown: int, predicted: int
) -> list[tuple[str, str]]:
    """Where the page comes from, for who gets it."""
    facts = [("Results", _name_of(options.results))]
    if found.checkpoint is not None:
        facts.append(("Model", _model_name(found.checkpoint)))
    facts += [("Catalog", Path(catalog.name).name) for catalog in catalogs]
    if shown < predicted:
        facts.append(("Galaxies", f"a random {shown:,} of {predicted:,}"))
    facts.append(("Task", found.task.kind))
    if found.task.tree is not None or found.samples > 1:
        facts.append(("Intervals", f"{options.level:.0%}, {options.interval}"))
    return facts


def _model_name(checkpoint: str) -> str:
    """What people call a model: the folder of its run, not the checkpoint in it."""
    path = Path(checkpoint)
    return path.parent.name if path.name == "checkpoint" else path.name
