"""All votes and labels of a campaign so far: who learns from which, and what each round taught."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared import defaults, schemas
from zoobot.shared.catalog import Catalog, check_columns
from zoobot.shared.catalogs.columns import is_missing, read_ids, read_labels
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.tables.layout import ID_COLUMN
from zoobot.workflow.building import read_schema
from zoobot.workflow.votes import as_tree, counting_of, refuse_other_columns, with_ids
from zoobot.zooniverse.campaign_folder import EXTRACTOR, TREE, WORKFLOW, copies_in
from zoobot.zooniverse.exports import CLASSIFICATIONS, count_classifications, has_any_to_count, kind_of_export
from zoobot.zooniverse.workflows import read_questions

if TYPE_CHECKING:
    from zoobot.options.campaign import CampaignOptions
    from zoobot.shared.trees.tree import Schema
    from zoobot.zooniverse.exports import Counting

#: The column that says what a galaxy with votes is used for.
PART = "campaign_part"

_SHOWN = 5


class WhatIsAsked(NamedTuple):
    """What people are asked, as a campaign's folder keeps it.

    Attributes:
        columns: Of votes or labels.
        schema: The tree, if it is one.
        tree: What `zoobot finetune` is given as the tree.
        counting: How classifications are counted; None as long as there is no workflow.
    """

    columns: tuple[str, ...]
    schema: Schema | None = None
    tree: str | None = None
    counting: Counting | None = None


def read_what_is_asked(folder: Path, options: CampaignOptions) -> WhatIsAsked:
    """What people are asked, from the copies in a campaign's folder.

    Raises:
        ZoobotError: If one can't be used.
    """
    if options.kind != "tree":
        return WhatIsAsked(options.labels)
    schema = read_schema(str(folder / TREE))
    is_named = options.schema in schemas.names() and not options.legacy_schema
    tree = str(options.schema) if is_named else str(folder / TREE)
    copies = copies_in(folder, "workflow")
    counting = None
    if copies:
        named = next(map(str, copies_in(folder, "extractor")), None)
        counting = counting_of(*read_questions(str(copies[0]), options.workflow_id, named), options)
    return WhatIsAsked(tuple(schema.label_cols), schema, tree, counting)


def copies_of(options: CampaignOptions, known: Schema | None = None) -> dict[str, bytes | Schema]:
    """What a campaign's folder keeps of what people are asked, by the names of the files.

    Args:
        options: Schema, workflow and extractor, where they lie now.
        known: The campaign's tree, if it has one already.

    Raises:
        SchemaError: If one can't be used, or the workflow asks what the tree does not have.
    """
    if options.kind != "tree":
        return {}
    schema = known
    if schema is None and options.schema is not None:
        schema = read_schema(options.schema, legacy=options.legacy_schema)
    found: dict[str, bytes | Schema] = {}
    if options.workflow is not None:
        workflow, naming = read_questions(options.workflow, options.workflow_id, options.extractor)
        schema = workflow.schema(naming) if schema is None else schema
        refuse_other_columns(counting_of(workflow, naming, options).columns(), schema)
        if options.extractor is not None:
            found[EXTRACTOR] = Path(options.extractor).expanduser().read_bytes()
        path = Path(options.workflow).expanduser()
        found[WORKFLOW + (".csv" if path.suffix.lower() == ".csv" else ".json")] = path.read_bytes()
    return found if known is not None or schema is None else {TREE: schema, **found}


@dataclass(frozen=True)
class VotesSoFar:
    """All votes and labels that came back.

    Args:
        table: `id_str` and the columns of votes or labels, a row for each galaxy that has any.
        classifications: How many of volunteers were counted.
        retired: Galaxies that the Zooniverse asks nobody about any more.
        notes: What was left out or decided.
    """

    table: pd.DataFrame
    classifications: int = 0
    retired: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """What tells these votes from others."""
        return hashlib.sha256(csv_text(self.table).encode()).hexdigest()


def read_votes(sources: Sequence[Path], asked: WhatIsAsked, options: CampaignOptions) -> VotesSoFar:
    """All votes in exports of classifications and in tables, together.

    Each volunteer counts once for each subject, whatever the export. Of tables the newest row of a galaxy
    counts; votes of a tree are added to those of volunteers.

    Args:
        sources: The files, in the order in which they came.
        asked: What people were asked.
        options: Which classifications count, and names of columns.

    Raises:
        CatalogError: If one is of no known kind, damaged, or of another workflow.
    """
    kinds = {path: kind_of_export(path) for path in sources}
    exports = [path for path, kind in kinds.items() if kind == CLASSIFICATIONS]
    for path, kind in kinds.items():
        if kind not in (None, CLASSIFICATIONS) or path.suffix.lower() in (".jsonl", ".ndjson"):
            raise CatalogError(
                f"{path} holds counts, not single classifications, so that nobody could say whose votes were "
                "counted before: make a table of it with `zoobot votes`, and give that"
            )
    notes: list[str] = []
    found = VotesSoFar(pd.DataFrame(columns=["id_str", *asked.columns]))
    if exports:
        found = _of_volunteers(exports, asked, options, notes)
    table = _of_tables([path for path, kind in kinds.items() if kind is None], asked, options, notes)
    both = pd.concat([one for one in (found.table, table) if len(one)] or [found.table], ignore_index=True)
    if asked.schema is not None:
        both = both.groupby("id_str", sort=False)[list(asked.columns)].sum().reset_index()
        both = both[(both[list(asked.columns)] > 0).any(axis=1)].reset_index(drop=True)
    return replace(found, table=both, notes=tuple(notes))


def _of_volunteers(
    exports: Sequence[Path], asked: WhatIsAsked, options: CampaignOptions, notes: list[str]
) -> VotesSoFar:
    if asked.counting is None or asked.schema is None:
        what = "--workflow, the workflow's JSON" if options.kind == "tree" else "a table of labels"
        raise ConfigError(
            f"{exports[0]} is {CLASSIFICATIONS}, of which nobody can say what was asked: give {what}"
        )
    for path in exports:
        if not has_any_to_count(path, asked.counting):
            ours, alone = asked.counting.workflow, count_classifications([path], asked.counting)
            raise CatalogError(
                f"{path} has no classification of the campaign's workflow, {ours.id or 'of no number'} "
                f"({ours.name}): {dict(alone.left_out) or 'it is empty'}"
            )
    counted = count_classifications(exports, asked.counting)
    table = with_ids(counted, options, notes)
    notes += [f"left out: {number:,} {reason}" for reason, number in counted.left_out.items()]
    notes += [f"no column for {number:,} × {what}" for what, number in counted.unknown.most_common(_SHOWN)]
    subjects = table["subject_id"].str.split()
    is_retired = [bool(counted.retired & set(one)) for one in subjects]
    return VotesSoFar(
        as_tree(table, asked.schema).drop(columns="subject_id"),
        classifications=counted.classifications,
        retired=frozenset(table["id_str"][is_retired]),
    )


def _of_tables(
    paths: Sequence[Path], asked: WhatIsAsked, options: CampaignOptions, notes: list[str]
) -> pd.DataFrame:
    columns, tables = list(asked.columns), [pd.DataFrame(columns=["id_str", *asked.columns])]
    for path in paths:
        table = read_table(path, text_cols=(options.id_col, ID_COLUMN))
        id_col = (
            options.id_col if options.id_col in table.columns else ID_COLUMN
        )  # as lists and annotators say
        check_columns(table, (id_col, *columns), str(path))
        ids = read_ids(table[id_col], str(path))
        known = pd.DataFrame({"id_str": ids, **{name: table[name].to_numpy() for name in columns}})
        if asked.schema is not None:
            votes = np.nan_to_num(read_labels(table, columns, ids, str(path)))
            known = pd.DataFrame(votes, columns=columns).assign(id_str=ids)
            known = known[(votes != 0).any(axis=1)]
        else:
            known = known[[not all(map(is_missing, row)) for row in table[columns].itertuples(index=False)]]
        tables.append(known)
    found = pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True)
    newest = found.drop_duplicates("id_str", keep="last", ignore_index=True)
    if len(newest) < len(found):
        notes.append(
            f"{len(found) - len(newest):,} rows of tables are replaced by newer ones of the same galaxies"
        )
    return newest


# Which galaxies are used for what.


class Taught(NamedTuple):
    """The galaxies with votes, in the order of the catalog.

    Attributes:
        learning: Those that a model learns from, with their part ("train" or "val") in the column `PART`.
        held_out: Those that all rounds are scored on.
    """

    learning: Catalog
    held_out: Catalog


def join_votes(
    everything: Catalog, so_far: VotesSoFar, held_out: set[str], options: CampaignOptions
) -> tuple[Taught, list[str]]:
    """The galaxies of a catalog with their votes beside them; and what is to be said of that.

    Which galaxies validate depends on the seed and their ids alone, whatever else is known.

    Raises:
        CatalogError: If the catalog has none of the galaxies with votes, or too few can teach anything.
    """
    row = {galaxy: place for place, galaxy in enumerate(so_far.table["id_str"])}
    places = [place for place, galaxy in enumerate(everything.ids) if galaxy in row]
    if not places and row:
        raise CatalogError(
            f"no galaxy with votes is in {everything.name}: ids are {list(row)[:3]} here, and "
            f"{everything.ids[:3]} there"
        )
    notes = [] if len(places) == len(row) else [
        f"left out: {len(row) - len(places):,} galaxies with votes that the catalog does not have"
    ]  # fmt: skip
    known = everything.select(places)
    own = so_far.table.iloc[[row[galaxy] for galaxy in known.ids]].drop(columns="id_str")
    own = own.set_index(known.table.index)
    replaced = [name for name in own.columns if name in known.table.columns]
    if replaced:
        more = " …" if len(replaced) > _SHOWN else ""
        notes.append(f"the catalog's own {', '.join(replaced[:_SHOWN])}{more} are not used: people say them")
    table = pd.concat([known.table.drop(columns=[*replaced]), own], axis=1)
    known = replace(known, table=table, name=f"{everything.name}, with votes")
    is_held = np.array([galaxy in held_out for galaxy in known.ids], bool)
    learning = known.select(~is_held)
    if len(learning) < 2:
        raise CatalogError(
            f"there are votes on {len(learning):,} galaxies to learn from (and {int(is_held.sum()):,} that "
            "are set aside for scores): at least 2 are needed. Give more votes"
        )
    parts = _parts(learning.ids, options.seed)
    return Taught(
        replace(learning, table=learning.table.assign(**{PART: parts})), known.select(is_held)
    ), notes


def _parts(ids: Sequence[str], seed: int) -> list[str]:
    order = sorted(ids, key=lambda one: hashlib.sha256(f"{seed} {one}".encode()).digest())
    validating = set(order[: max(1, round(defaults.VAL_FRACTION * len(ids)))])
    return ["val" if galaxy in validating else "train" for galaxy in ids]


def describe_votes(so_far: VotesSoFar, taught: Taught) -> dict[str, Any]:
    """What the record says of the votes that a round learned from, JSON-ready."""
    parts = taught.learning.table[PART]
    return {
        "votes_sha256": so_far.digest(),
        "classifications": so_far.classifications,
        "answered": len(so_far.table),
        "retired": len(so_far.retired),
        "learned_from": len(parts),
        "validated": int((parts == "val").sum()),
    }


def votes_text(taught: Taught, columns: Sequence[str], id_col: str) -> str:
    """The table of all votes so far, as text: `file_loc`, what each galaxy is used for, its votes."""
    rows: list[dict[str, Any]] = []
    for galaxies, part in ((taught.learning, None), (taught.held_out, "held out")):
        parts = galaxies.table[PART] if part is None else [part] * len(galaxies)
        votes = galaxies.table[list(columns)].to_dict("records")
        rows += [
            {id_col: galaxy, "file_loc": str(place), PART: used, **own}
            for galaxy, place, used, own in zip(galaxies.ids, galaxies.paths, parts, votes, strict=True)
        ]
    return csv_text(pd.DataFrame(rows))
