"""A table of votes from what volunteers answered at the Zooniverse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, SchemaError
from zoobot.shared.files.spreadsheets import unguarded, write_csv
from zoobot.shared.files.table_checks import readable
from zoobot.shared.files.whole import replacing
from zoobot.shared.tables.destination import Destination
from zoobot.workflow.building import read_schema
from zoobot.workflow.reporting import Reported
from zoobot.workflow.run_folder import table_run
from zoobot.zooniverse.exports import HIDDEN, Counting, Votes, count_votes
from zoobot.zooniverse.workflows import read_questions

if TYPE_CHECKING:
    from zoobot.options.votes import CountingOptions, SubjectOptions, VotesOptions
    from zoobot.shared.trees.tree import Schema
    from zoobot.zooniverse.workflows import Naming, Workflow

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class VotesResult(Reported):
    """Votes that were counted.

    Args:
        save_loc: The table: `id_str`, `subject_id`, columns of the catalog, a column for each answer.
        galaxies: Its rows.
        schema: The tree that the columns belong to.
        counted: Classifications, or rows of an aggregation, that were counted.
        left_out: How many were not, by the reason.
        unknown: Answers that have no column, and how often each was given.
        notes: What else was decided or met.
    """

    save_loc: Path
    galaxies: int
    schema: Schema
    counted: int
    left_out: Mapping[str, int]
    unknown: Mapping[str, int]
    notes: tuple[str, ...]

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = [f"{self.counted:,} classifications counted"]
        lines += [f"  left out: {number:,} {reason}" for reason, number in self.left_out.items()]
        if self.unknown:
            total = sum(self.unknown.values())
            lines.append(f"  {total:,} answers have no column:")
            lines += [f"    {number:,} × {what}" for what, number in list(self.unknown.items())[:_SHOWN]]
            lines += [f"    … {len(self.unknown) - _SHOWN} more"] if len(self.unknown) > _SHOWN else []
        lines += self.notes
        lines.append(f"votes on {self.galaxies:,} galaxies: {self.save_loc}")
        return "\n".join(lines)


def votes(options: VotesOptions, *, command: str = "zoobot.workflow.votes") -> VotesResult:
    """Count what volunteers answered, and write a table that a tree can be taught with.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If a file can't be used, the answers fit no tree, or the table exists.
    """
    save_loc = Destination.of(options.save_loc).free(overwrite=options.overwrite)
    workflow, naming = read_questions(options.workflow, options.workflow_id, options.extractor)
    schema = workflow.schema(naming) if options.schema is None else read_schema(options.schema)
    counting = counting_of(workflow, naming, options)
    notes = refuse_other_columns(counting.columns(), schema)
    catalog = None if options.catalog is None else _read_catalog(options.catalog)
    with table_run(save_loc, "votes", options, command=command) as record:
        counted = count_votes(options.export, counting)
        table = as_tree(with_ids(counted, options, notes), schema)
        if catalog is not None:
            table = _beside_catalog(table, catalog, notes)
        if table.empty:
            raise CatalogError(
                f"{options.export} leaves no galaxy with votes; left out: {dict(counted.left_out)}"
            )
        with replacing(save_loc) as draft:
            if save_loc.suffix.lower() == ".csv":
                write_csv(table, draft)
            else:
                table.to_parquet(draft, index=False)
        left_out, unknown = dict(counted.left_out), dict(counted.unknown.most_common())
        record.update(counted=counted.classifications, left_out=left_out, unknown=unknown)
    return VotesResult(
        save_loc=save_loc,
        galaxies=len(table),
        schema=schema,
        counted=counted.classifications,
        left_out=left_out,
        unknown=unknown,
        notes=tuple(notes),
    )


def counting_of(workflow: Workflow, naming: Naming, options: CountingOptions) -> Counting:
    """How votes are counted, as the options say.

    Raises:
        CatalogError: If the table of weights can't be used.
    """
    return Counting(
        workflow=workflow,
        naming=naming,
        weights={} if options.user_weights is None else _read_weights(options.user_weights),
        after_retirement=options.after_retirement,
        first_version=options.first_version,
    )


def refuse_other_columns(columns: tuple[str, ...], schema: Schema) -> list[str]:
    """What to tell of questions without votes; an error where votes have no place in the tree."""
    others = [column for column in columns if column not in schema.label_cols]
    if others:
        raise SchemaError(
            f"votes would be of {others[:_SHOWN]}, which the tree {schema.name} does not have: name tasks "
            "and answers as it does, in a file for --extractor, or leave out --schema"
        )
    unasked = [q.text for q in schema.questions if not set(q.label_cols) & set(columns)]
    return [f"no votes, since the workflow does not ask: {', '.join(unasked)}"] if unasked else []


def _read_weights(path: str) -> dict[str, float]:
    table = read_table(path, text_cols=["user_name"])
    if not {"user_name", "weight"} <= set(table.columns):
        raise CatalogError(f"{path} must have the columns user_name and weight, got {list(table.columns)}")
    weights = pd.to_numeric(table["weight"], errors="coerce")
    if not (weights >= 0).all() or (weights == float("inf")).any():
        raise CatalogError(f"{path}: every weight must be a number from 0")
    return dict(zip(table["user_name"].astype(str), weights.astype(float), strict=True))


def _read_catalog(path: str) -> pd.DataFrame:
    table = read_table(path, text_cols=["id_str"])
    if "id_str" not in table.columns:
        raise CatalogError(f"{path} must have a column id_str, got {list(table.columns)[:20]}")
    table["id_str"] = table["id_str"].astype(str)
    if table["id_str"].duplicated().any():
        again = table["id_str"][table["id_str"].duplicated()].head(_SHOWN).tolist()
        raise CatalogError(f"{path}: ids must be different, but these come again: {again}")
    if "file_loc" in table.columns:  # the table of votes may lie elsewhere
        folder = Path(path).expanduser().absolute().parent
        table["file_loc"] = [str(folder / str(place)) for place in table["file_loc"]]
    return table


def with_ids(counted: Votes, options: SubjectOptions, notes: list[str]) -> pd.DataFrame:
    """The votes by our ids; votes of several subjects of one galaxy together."""
    table = counted.table()
    metadata = counted.metadata if options.subjects is None else _read_subjects(options.subjects)
    ids = {subject: _id_of(metadata.get(subject, {}), options.id_field) for subject in table["subject_id"]}
    known = [galaxy for galaxy in ids.values() if galaxy is not None]
    if not known:
        notes.append(
            "the id of a galaxy is the number of its subject, for none was uploaded with "
            f"{options.id_field!r} (--id-field, --subjects)"
        )
        table.insert(0, "id_str", table["subject_id"])
        return table
    if len(known) < len(ids):
        lost = [subject for subject, galaxy in ids.items() if galaxy is None]
        notes.append(
            f"left out: {len(lost):,} subjects that were uploaded without {options.id_field!r}, such as "
            f"{lost[:_SHOWN]}"
        )
    table.insert(0, "id_str", [ids[subject] for subject in table["subject_id"]])
    table = table[table["id_str"].notna()]
    if table["id_str"].duplicated().any():
        several = int(table["id_str"].duplicated(keep=False).sum())
        notes.append(f"{several:,} subjects show galaxies that others show too: their votes are added up")
        how = {"subject_id": " ".join} | dict.fromkeys(counted.columns, "sum")
        return table.groupby("id_str", sort=False).agg(how).reset_index()
    return table


def _id_of(metadata: Mapping[str, Any], name: str) -> str | None:
    for hidden in HIDDEN:
        value = metadata.get(f"{hidden}{name}")
        if value not in (None, ""):
            return unguarded(str(value))  # as a manifest of ours has it
    return None


def _read_subjects(path: str) -> dict[str, dict[str, Any]]:
    place = Path(path).expanduser()
    with readable(place):
        table = pd.read_csv(place, dtype=str, keep_default_na=False)
    if not {"subject_id", "metadata"} <= set(table.columns):
        msg = f"{path} is no export of subjects: it lacks subject_id or metadata, and has {list(table)[:20]}"
        raise CatalogError(msg)
    found = {}
    for subject, text in zip(table["subject_id"], table["metadata"], strict=True):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CatalogError(f"{path}, subject {subject}: its metadata is damaged: {error}") from error
        found[subject] = content if isinstance(content, dict) else {}
    return found


def as_tree(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """With a column for each answer of the tree, in its order; 0 where nobody was asked."""
    answers = table.reindex(columns=schema.label_cols, fill_value=0)
    return pd.concat([table[["id_str", "subject_id"]], answers], axis=1)


def _beside_catalog(table: pd.DataFrame, catalog: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    ours = catalog[["id_str", *(name for name in catalog.columns if name not in table.columns)]]
    replaced = [name for name in catalog.columns if name in table.columns and name != "id_str"]
    if replaced:
        more = f" and {len(replaced) - _SHOWN} more" if len(replaced) > _SHOWN else ""
        notes.append(f"left out of the catalog, since votes have them: {', '.join(replaced[:_SHOWN])}{more}")
    found = ours.merge(table, on="id_str", how="inner", validate="one_to_one")
    for number, what in (
        (len(table) - len(found), "galaxies with votes that the catalog does not have"),
        (len(catalog) - len(found), "galaxies of the catalog without votes"),
    ):
        if number:
            notes.append(f"left out: {number:,} {what}")
    if found.empty and len(table):
        raise CatalogError(
            f"no galaxy with votes is in the catalog: ids are {table['id_str'].head(3).tolist()} here, and "
            f"{catalog['id_str'].head(3).tolist()} there"
        )
    return found
