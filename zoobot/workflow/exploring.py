"""The guided making of an explorer page: results of a run, or predictions, as one HTML file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared.catalog import Catalog
from zoobot.shared.errors import ConfigError
from zoobot.shared.explorer import Contents, Described, describe_predictions, write_page
from zoobot.workflow.explored_galaxies import choose_galaxies, list_galaxies, open_catalogs, read_chosen
from zoobot.workflow.explored_looks import draw_thumbnails, find_look_alikes
from zoobot.workflow.found_results import find_results
from zoobot.workflow.prediction import save_failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.config import ExploreOptions
    from zoobot.workflow.explored_looks import draw_thumbnails, find_look_alikes
from zoobot.workflow.found_results import FoundResults

__all__ = ["ExploreResult", "explore"]

logger = logging.getLogger("zoobot")


@dataclass(frozen=True, kw_only=True)
class ExploreResult:
    """A page.

    Args:
        save_loc: The file.
        galaxies: How many galaxies it shows.
        predicted: Of how many these are a random sample; the same number if of all.
        megabytes: Its size.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    save_loc: Path
    galaxies: int
    predicted: int
    megabytes: float
    failures: pd.DataFrame


def explore(options: ExploreOptions) -> ExploreResult:
    """Make a page of galaxies and their predictions; beside it `NAME.failures.csv` where images failed.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the results, the catalog, the features or the model can't be used, or the page exists.
    """
    save_loc = _free_place(options)
    found = find_results(options.results, checkpoint=options.checkpoint)
    catalogs = open_catalogs(found, options)
    ids, predicted = choose_galaxies(found, options, catalogs)
    known = list_galaxies(ids, catalogs, found.task, options)
    described = describe_predictions(
        found.task, read_chosen(found, ids), known.labels, level=options.level, kind=options.interval
    )
    _tell_unusable(described)
    neighbours = find_look_alikes(ids, known.paths, found, options)
    thumbnails = draw_thumbnails(known.paths, found, options, has_catalog=bool(catalogs))
    contents = Contents(
        title=options.heading or _name_of(options.results),
        facts=_facts(found, catalogs, options, len(ids), predicted),
        ids=ids,
        columns=[*described.columns, *known.columns],
        texts=[*described.texts, *known.texts],
        charts=described.charts,
        thumbnails=thumbnails,
        interval=f"{options.level:.0%} interval",
        neighbours=neighbours,
    )
    write_page(save_loc, contents)
    failures = pd.DataFrame(
        [
            (galaxy, path, reason)
            for galaxy, path, reason in zip(ids, known.paths, thumbnails.reasons, strict=True)
            if reason and path is not None and options.images
        ],
        columns=["id_str", "file_loc", "reason"],
    )
    return ExploreResult(
        save_loc=save_loc,
        galaxies=len(ids),
        predicted=predicted,
        megabytes=save_loc.stat().st_size / 1e6,
        failures=save_failures(failures, save_loc.with_suffix(".failures.csv")),
    )


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
    if path.exists() and not options.overwrite:
        msg = f"{path} exists: choose another --save-loc, or replace it with --overwrite"
        raise ConfigError(msg)
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
    if found.task.kind == "tree" or found.samples > 1:
        facts.append(("Intervals", f"{options.level:.0%}, {options.interval}"))
    return facts


def _model_name(checkpoint: str) -> str:
    """What people call a model: the folder of its run, not the checkpoint in it."""
    path = Path(checkpoint)
    return path.parent.name if path.name == "checkpoint" else path.name
