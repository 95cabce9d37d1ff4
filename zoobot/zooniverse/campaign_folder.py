"""The folder of a campaign: what each round asked, what came back, and how far a round is that was killed.

- campaign.json: options, and what came of each round that is over; a round is over once it stands there
- workflow.json (or .csv), extractor.json, tree.yaml: what volunteers are asked, copied when it was given
- rounds.csv, rounds.png: what each round taught
- round-01, round-02 …: see `Round`. What is there is whole, and a step whose result is there is done.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import clear_abandoned, owned_name, replacing_folder, write_safely
from zoobot.shared.models.weights import hash_file

RECORD = "campaign.json"
TREE, WORKFLOW, EXTRACTOR = "tree.yaml", "workflow", "extractor.json"

#: Why a galaxy of the first round is asked about.
START = {"random": "random start", "typical": "typical start"}
HELD_OUT = "held out, random"

_SHOWN = 5


@dataclass(frozen=True)
class Round:
    """One round of a campaign.

    Args:
        folder: The round's own.
        number: Counted from 1. The first only asks; each other one learns before.
    """

    folder: Path
    number: int

    @classmethod
    def of(cls, campaign: Path, number: int) -> Round:
        """A round by its number, whether it was begun or not."""
        return cls(campaign / f"round-{number:02}", number)

    @property
    def exports(self) -> Path:
        """A folder of copies of what came back; with it a round begins."""
        return self.folder / "exports"

    @property
    def votes(self) -> Path:
        """The table of all votes so far, and what each galaxy is used for."""
        return self.folder / "votes.csv"

    @property
    def model(self) -> Path:
        """The run that learned from them."""
        return self.folder / "model"

    @property
    def held_out(self) -> Path:
        """What the model predicts of the galaxies that are set aside."""
        return self.folder / "held_out.parquet"

    @property
    def predictions(self) -> Path:
        """What it predicts of those that can be chosen, in parts."""
        return self.folder / "predictions"

    @property
    def closed(self) -> Path:
        """The galaxies that can't be chosen, and why."""
        return self.folder / "closed.csv"

    @property
    def asked(self) -> Path:
        """The list of galaxies to ask about; with it a round is over but for its record."""
        return self.folder / "asked.csv"

    def sources(self) -> list[Path]:
        """What came back, in the order in which it was given."""
        return sorted(self.exports.iterdir()) if self.exports.is_dir() else []

    def put_in(self, files: Sequence[Path]) -> None:
        """Begin the round with copies of what came back, or begin it anew with more of it.

        Raises:
            WriteError: If they can't be copied; then nothing has begun.
        """
        before = self.sources()
        self.forget(self.votes, self.model, *self.predicted())
        with replacing_folder(self.exports) as draft:
            for place, file in enumerate([*before, *files], 1):
                name = file.name.partition("-")[2] if file in before else file.name
                shutil.copyfile(file, draft / f"{place:02}-{name}")

    def predicted(self) -> tuple[Path, ...]:
        """All that was predicted by the model."""
        return self.held_out, self.predictions, self.closed

    def forget(self, *paths: Path) -> None:
        """Delete what another step made; killed on the way, nothing half-deleted keeps its name."""
        if self.folder.is_dir():
            clear_abandoned(self.folder)
        for path in paths:
            if path.is_dir():
                doomed = owned_name(path, ".partial")
                path.rename(doomed)
                shutil.rmtree(doomed)
            else:
                path.unlink(missing_ok=True)


def copies_in(folder: Path, option: str) -> list[Path]:
    """The copy that a campaign keeps of what an option named, if it keeps one."""
    kept = {"workflow": f"{WORKFLOW}.*", "extractor": EXTRACTOR}.get(option)
    return [] if kept is None else sorted(folder.glob(kept))


def is_copy(copy: Path, name: str) -> bool:
    """Whether a file, as it was named, is there and is what a copy was made of."""
    path = Path(name).expanduser()
    return path.is_file() and path.read_bytes() == copy.read_bytes()


def new_files(given: Sequence[str], known: Sequence[Path]) -> list[Path]:
    """Files that are not among those that are known, by what is in them.

    Raises:
        ConfigError: If one is not there.
    """
    digests = {hash_file(path) for path in known}
    found = []
    for name in given:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"--votes: there is no file {name}")
        digest = hash_file(path)
        if digest not in digests:
            found.append(path)
        digests.add(digest)
    return found


def sources_of(rounds: Sequence[Round], entries: Sequence[Mapping[str, Any]]) -> list[Path]:
    """All that came back to rounds that are over, in order; `entries` are what the record says of each.

    Raises:
        CatalogError: If something is gone.
    """
    found: list[Path] = []
    for one, entry in zip(rounds, entries, strict=True):
        sources = one.sources()
        lost = set(entry.get("sources", ())) - {source.name for source in sources}
        if lost:
            raise CatalogError(
                f"{one.exports} lacks {sorted(lost)}, which all later rounds learn from, too: put it back"
            )
        found += sources
    return found


def read_asked(rounds: Sequence[Round]) -> pd.DataFrame:
    """All galaxies that were asked about: `id_str`, `round`, `reason`; those asked again, as they were first.

    Raises:
        CatalogError: If a list is gone or damaged.
    """
    tables = [pd.DataFrame({"id_str": [], "round": [], "reason": []}, dtype=object)]
    for one in rounds:
        table = read_table(one.asked, text_cols=["id_str", "reason"])
        if not {"id_str", "reason"} <= set(table.columns):
            raise CatalogError(f"{one.asked} is damaged: it must have the columns id_str and reason")
        tables.append(table[["id_str", "reason"]].assign(round=one.number))
    return pd.concat(tables, ignore_index=True).drop_duplicates("id_str", ignore_index=True)


def write_closed(path: Path, id_col: str, why: dict[str, str]) -> None:
    """Write which galaxies can't be chosen, and why."""
    write_safely(path, csv_text(pd.DataFrame({id_col: list(why), "why": list(why.values())})))


def refuse_lost(asked: pd.DataFrame, ids: set[str], name: str) -> None:
    """Raise a CatalogError unless a catalog still has every galaxy that was asked about."""
    lost = [galaxy for galaxy in asked["id_str"] if galaxy not in ids]
    if lost:
        raise CatalogError(
            f"{name} lacks {len(lost):,} galaxies that the campaign has asked about, such as "
            f"{lost[:_SHOWN]}: it may have more than before, or others of those that were not asked about"
        )
