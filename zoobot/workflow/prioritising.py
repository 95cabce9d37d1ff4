"""The guided choice of galaxies to label next: a model, a catalog, a ranked list with reasons."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared.acquisition import Acquisition, choose_score, only_parts, score_galaxies
from zoobot.shared.catalog import check_columns
from zoobot.shared.catalogs.galaxy_ids import read_ids
from zoobot.shared.catalogs.tables import read_table as read_any_table
from zoobot.shared.choosing.diversity import Chosen, choose_galaxies
from zoobot.shared.choosing.priority_list import check_list_place, write_list
from zoobot.shared.choosing.priority_reasons import explain, worth_asking
from zoobot.shared.errors import CatalogError
from zoobot.shared.posteriors import expected_fractions
from zoobot.shared.tasks import TreeTask
from zoobot.workflow.galaxies import read_galaxies, select_galaxies
from zoobot.workflow.member_predictions import Members, ask_models, read_table
from zoobot.workflow.pictures import attempt_picture, draw_galaxies
from zoobot.workflow.prediction import save_failures
from zoobot.workflow.run_folder import table_run

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.config import PrioritiseOptions

__all__ = ["PrioritiseResult", "prioritise"]

logger = logging.getLogger("zoobot")

_DRAWN = 12
_REASONS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class PrioritiseResult:
    """The galaxies to label next.

    Args:
        save_loc: The list.
        table: A row for each galaxy, the first first: see `zoobot.shared.choosing.priority_list.COLUMNS`.
        looked_at: How many galaxies could have been chosen.
        score: How their labels were valued.
        reasons: How often each reason occurs among the chosen, most frequent first.
        picture: The picture of the first galaxies, if there is one.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    save_loc: Path
    table: pd.DataFrame
    looked_at: int
    score: str
    reasons: dict[str, int]
    picture: Path | None
    failures: pd.DataFrame


def prioritise(
    options: PrioritiseOptions, *, command: str = "zoobot.workflow.prioritise"
) -> PrioritiseResult:
    """Rank the galaxies of a catalog by what their labels would teach, and write the list.

    Beside the list `NAME.csv` lie `NAME.png`, `NAME.run.json` and, where images failed, `NAME.failures.csv`.
    All predictions are held in memory: 300 MB for 100,000 galaxies, 20 samples and 37 answers.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the model, the catalog or the predictions can't be used, or the list exists.
    """
    save_loc = check_list_place(options.save_loc, overwrite=options.overwrite)
    everything = read_galaxies(options.catalog, options)
    galaxies, labelled = _without_labelled(everything, options)
    price = _costs(galaxies, options.cost_col)
    encodes = options.diversity != "none" and options.checkpoint is not None
    facts = {"source": galaxies.name, "galaxies": len(galaxies), "fingerprint": galaxies.fingerprint()}
    with table_run(save_loc, "prioritise", options, command=command, data={"catalog": facts}) as record:
        if options.predictions is None:
            members = ask_models(galaxies, labelled, options)
        else:
            members = read_table(galaxies, labelled, options, needs_features=encodes)
        score = choose_score(members.task, options.score)
        found = score_galaxies(
            members.task,
            members.predictions,
            score=score,
            n_volunteers=options.volunteers,
            seed=options.seed,
        )
        found = found if options.questions is None else only_parts(found, options.questions)
        row = {galaxy: row for row, galaxy in enumerate(galaxies.ids)}
        places = np.array([row[galaxy] for galaxy in members.ids])
        cost = None if price is None else price[places]
        chosen = _choose(members, found, cost, options, encodes=encodes)
        table, questions, shown = _list(members, found, chosen, galaxies.select(places), cost)
        origin = {"score": score, "task": members.task.to_config(), "catalog": galaxies.name}
        write_list(save_loc, table, questions, origin)
        failures = save_failures(members.failures, save_loc.with_suffix(".failures.csv"))
        picture = None
        if options.picture:
            picture = attempt_picture(_draw_first, members, shown, chosen, table, save_loc)
        record.update(score=score, chosen=len(table), cost=chosen.cost)
    counts = table["reason"].value_counts()
    return PrioritiseResult(
        save_loc=save_loc,
        table=table,
        looked_at=len(members.ids),
        score=score,
        reasons={str(name): int(count) for name, count in counts.head(_REASONS_SHOWN).items()},
        picture=picture,
        failures=failures,
    )


def _without_labelled(galaxies: Catalog, options: PrioritiseOptions) -> tuple[Catalog, Catalog]:
    """The galaxies that may be labelled, and those of the catalog that are."""
    done: set[str] = set()
    if options.exclude is not None:
        table = read_any_table(options.exclude, text_cols=(options.id_col,))
        check_columns(table, (options.id_col,), options.exclude, id_col=options.id_col)
        done = set(read_ids(table[options.id_col], options.exclude))
    is_done = np.array([galaxy in done for galaxy in galaxies.ids])
    if is_done.all():
        msg = f"--exclude {options.exclude}: it leaves no galaxy of {galaxies.name} to choose from"
        raise CatalogError(msg)
    open_ = galaxies.select(~is_done)
    return (open_ if options.select is None else select_galaxies(open_, options.select)), galaxies.select(
        is_done
    )


def _costs(galaxies: Catalog, column: str | None) -> np.ndarray | None:
    if column is None:
        return None
    check_columns(galaxies.table, (column,), galaxies.name)
    price = pd.to_numeric(galaxies.table[column], errors="coerce").to_numpy(np.float64)
    bad = ~(np.isfinite(price) & (price > 0))
    if bad.any():
        first = galaxies.ids[int(np.flatnonzero(bad)[0])]
        msg = f"costs must be numbers above 0; {int(bad.sum())} of column {column!r} are not, such as {first}"
        raise CatalogError(msg)
    return price


def _choose(
    members: Members,
    found: Acquisition,
    cost: np.ndarray | None,
    options: PrioritiseOptions,
    *,
    encodes: bool,
) -> Chosen:
    diversity = options.diversity or ("kmeans++" if encodes else "none")
    return choose_galaxies(
        found.score,
        options.n,
        diversity=diversity,
        features=members.features,
        labelled=members.labelled,
        costs=cost,
        budget=options.budget,
        seed=options.seed,
    )


def _list(
    members: Members, found: Acquisition, chosen: Chosen, galaxies: Catalog, cost: np.ndarray | None
) -> tuple[pd.DataFrame, list[list[dict[str, Any]]], Catalog]:
    """The rows of the list, what is worth asking of each, and the galaxies themselves."""
    rows = chosen.rows
    own = Acquisition(found.score[rows], found.parts[rows], found.names)
    predicted = members.predictions[:, rows]
    reasons, expected = explain(members.task, own, predicted)
    shown = galaxies.select(rows)
    table = pd.DataFrame(
        {
            "rank": np.arange(1, len(rows) + 1),
            "id_str": shown.ids,
            "file_loc": shown.paths,
            "score": own.score,
            "reason": reasons,
            "expected": expected,
            "distance": chosen.distances,
            "cost": np.ones(len(rows)) if cost is None else cost[rows],
        }
    )
    return table, worth_asking(members.task, own, predicted), shown


def _draw_first(
    members: Members, shown: Catalog, chosen: Chosen, table: pd.DataFrame, save_loc: Path
) -> Path | None:
    """The first galaxies beside what is expected of them; none where nobody knows how to read images."""
    if members.preprocessing is None:
        logger.warning("The predictions do not say how images are read: no picture")
        return None
    first = table.head(_DRAWN)
    predicted = members.predictions[:, chosen.rows[:_DRAWN]]
    if isinstance(members.task, TreeTask):
        mean = expected_fractions(predicted, members.task.schema)
    else:
        mean = predicted.mean(axis=0)
    names = [f"{row.rank}. {row.id_str}\n{row.reason}: {row.expected}" for row in first.itertuples()]
    galaxies = shown.select(np.arange(len(first)))
    return draw_galaxies(
        members.task, members.preprocessing, galaxies, mean, save_loc.with_suffix(".png"), names=names
    )
