"""The guided campaign: ask about galaxies, learn from the answers, choose what to ask next, round by round.

Every step leaves a file or folder that is whole or absent, and is left out where that is there. So a round
that was killed goes on where it was, and what came of a round is worked out from its folder alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.choosing.priority_list import COLUMNS, write_list
from zoobot.choosing.strategy_names import TYPICAL
from zoobot.options.campaign import FIXED, OF_ONE_ROUND, WAYS_TO_CHOOSE, CampaignOptions
from zoobot.shared import defaults
from zoobot.shared.catalogs.given import as_option
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.locks import lock_file, locked
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import replacing_folder, write_safely
from zoobot.shared.predictions import Parts
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.destination import failures_of
from zoobot.shared.trees.tree import Schema
from zoobot.workflow.building import read_labelled
from zoobot.workflow.campaign_account import (
    CampaignResult,
    curves_of,
    describe_scores,
    pictures_of,
    score_rounds,
    words_to_click,
)
from zoobot.workflow.campaign_votes import (
    PART,
    Taught,
    VotesSoFar,
    WhatIsAsked,
    copies_of,
    describe_votes,
    join_votes,
    read_votes,
    read_what_is_asked,
    votes_text,
)
from zoobot.workflow.finetune import finetune
from zoobot.workflow.galaxies import read_galaxies
from zoobot.workflow.members import check_rule
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.predict import predict, save_failures
from zoobot.workflow.prioritise import prioritise
from zoobot.workflow.run_folder import (
    FREE_AND_PLACES,
    RunRecord,
    changed_options,
    describe_options,
    kept_options,
    open_record,
    read_record,
    read_record_file,
)
from zoobot.zooniverse import manifests
from zoobot.zooniverse.campaign_folder import (
    HELD_OUT,
    RECORD,
    START,
    Round,
    copies_in,
    is_copy,
    new_files,
    read_asked,
    refuse_lost,
    sources_of,
    write_closed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.catalog import Catalog

logger = logging.getLogger("zoobot")

_WORK = "campaign"
_FEWEST = 4  # two to learn from, one of them to validate, and one to be set aside

#: What may be given otherwise and changes nothing of what comes out.
_SAME_MODEL = FREE_AND_PLACES - {"encoder"}
_FREE = _SAME_MODEL | {"campaign", *OF_ONE_ROUND} - {"ask_again"}


def campaign_options(given: Mapping[str, Any]) -> CampaignOptions:
    """The options of a campaign: those that its folder keeps, with what is given anew instead.

    Args:
        given: Names and values, at least `campaign`.

    Raises:
        ConfigError: If there is no campaign and what is given starts none, or a value can't be changed.
    """
    if "campaign" not in given:
        raise ConfigError("missing: --campaign, the campaign's folder")
    folder = Path(given["campaign"]).expanduser()
    record = read_record_file(folder / RECORD)
    if record is None:
        if given.get("next") or "catalog" not in given:
            raise ConfigError(f"there is no campaign in {folder}: start one with --catalog and what to ask")
        return CampaignOptions.from_config(given)
    asked = kept_options(record, given)
    for own, other in (WAYS_TO_CHOOSE, WAYS_TO_CHOOSE[::-1]):
        if own & set(given) and not other & set(given):
            asked = {name: value for name, value in asked.items() if name not in other}
    for name in ("workflow", "extractor"):  # wherever it lies now
        copies = copies_in(folder, name)
        if copies and given.get(name) is not None:
            if not is_copy(copies[0], given[name]):
                raise ConfigError(f"a campaign keeps its {name}, and {given[name]} is not as {copies[0]}")
            asked[name] = record.content["options"][name]
    options = CampaignOptions.from_config(asked)
    before = CampaignOptions.from_config(record.content["options"])
    may_come = ("workflow", "workflow_id", "extractor") if before.workflow is None else ()
    for name in FIXED:
        was, now = getattr(before, name), getattr(options, name)
        if was != now and name not in may_come:
            raise ConfigError(
                f"a campaign keeps its {name}, which was {was!r}, now {now!r}: start another one in another "
                "folder"
            )
    if not options.next and record.content["rounds"]:
        changed = changed_options(before, options, free=_FREE)
        if changed:
            raise ConfigError(f"options change with a round: add --next ({'; '.join(changed)})")
    return options


def campaign(options: CampaignOptions, *, command: str = "zoobot.workflow.campaign") -> CampaignResult:
    """Start a campaign, say where it stands, or go on with it by a round.

    A round takes in votes, learns from all so far, scores the model, predicts, and chooses what to ask about
    next. Nothing of it counts before its last file is there, and after a kill it goes on where it was.

    Args:
        options: Everything that can be chosen; `campaign_options` completes those of an older campaign.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If there is nothing new to learn from, or a file can't be used.
    """
    folder = Path(options.campaign).expanduser()
    if read_record_file(folder / RECORD) is None:
        _start(folder, options, command)
    record = _record_of(folder)
    if options.next or not record.content["rounds"]:
        with locked(lock_file(folder)):
            record = _record_of(folder)
            record.update(status="running", command=command)
            with record.running():
                _Work(folder, options, record).go_on()
    return _stand(folder, options, record)


def _record_of(folder: Path) -> RunRecord:
    record = read_record_file(folder / RECORD)
    if record is None or not isinstance(record.content.get("rounds"), list):
        raise ConfigError(f"{folder / RECORD} is no record of a campaign")
    return record


def _start(folder: Path, options: CampaignOptions, command: str) -> None:
    """Make the folder, whole or not at all, once all that it begins with is found to be there."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder} holds other files: give the campaign a folder of its own")
    if options.next:
        raise ConfigError(f"there is no campaign in {folder} yet: start it without --next")
    galaxies = read_galaxies(options.catalog, options)
    if min(options.ask, len(galaxies)) < _FEWEST:
        raise ConfigError(f"a campaign begins with {_FEWEST} galaxies or more, got --ask {options.ask}")
    kept = copies_of(options)
    if options.platform is not None:
        manifests.check_upload(
            manifests.folder_of(Round.of(folder, 1).asked),
            galaxies,
            metadata=options.metadata,
            urls=options.image_urls,
            subject_col=options.subject_col,
            overwrite=True,
        )
    if folder.is_dir():
        folder.rmdir()
    with locked(lock_file(folder)), replacing_folder(folder) as draft:
        for name, content in kept.items():
            if isinstance(content, Schema):
                content.to_yaml(draft / name)
            else:
                (draft / name).write_bytes(content)
        started = replace(options, **OF_ONE_ROUND)
        facts = {**_described(started), "rounds": []}
        open_record(draft / RECORD, _WORK, started, command=command).update(**facts)
    logger.info("A campaign over %s galaxies of %s, in %s", f"{len(galaxies):,}", galaxies.name, folder)


def _described(options: CampaignOptions) -> dict[str, Any]:
    """What the record keeps of options; files that are read again, by their whole paths."""
    facts = describe_options(options)
    other = {*FIXED, *FREE_AND_PLACES, "campaign", "votes"}
    again = {name: path for name, path in facts["paths"].items() if name not in other}
    return {**facts, "options": facts["options"] | again}


class _Known(NamedTuple):
    """What a round begins with."""

    what: WhatIsAsked
    so_far: VotesSoFar
    asked: pd.DataFrame
    taught: Taught
    notes: list[str]


class _Work:
    """The work on a campaign's round.

    Args:
        folder: The campaign's.
        options: Everything that was chosen.
        record: campaign.json.
    """

    def __init__(self, folder: Path, options: CampaignOptions, record: RunRecord) -> None:
        self.folder, self.options, self.record = folder, options, record
        self.galaxies = read_galaxies(options.catalog, options)
        self.over = [Round.of(folder, place + 1) for place in range(len(record.content["rounds"]))]
        self.round = Round.of(folder, len(self.over) + 1)

    def go_on(self) -> None:
        """Finish what a kill left, and a round more if there are votes."""
        self._tell_other_catalog()
        if not self.over or self.round.asked.is_file():
            if not self.round.asked.is_file():
                self._ask_first()
            self._close(self._look(self.round.sources()) if self.over else None)
            self.over.append(self.round)
            if not new_files(self.options.votes, self._taken()):  # they may be what the kill interrupted
                return
            self.round = Round.of(self.folder, len(self.over) + 1)
        known = self._take()
        self._learn(known)
        self._predict(known)
        self._choose(known)
        self._close(known)

    def _taken(self) -> list[Path]:
        """What came back to the rounds that are over."""
        return sources_of(self.over, self.record.content["rounds"])

    def _tell_other_catalog(self) -> None:
        facts, before = self.galaxies.describe(), self.record.content.get("catalog")
        if before is not None and facts["contents"] != before["contents"]:
            refuse_lost(read_asked(self.over), set(self.galaxies.ids), self.galaxies.name)
            if not self.round.asked.is_file():
                self.round.forget(self.round.model, *self.round.predicted())
            logger.warning(
                "The catalog is not what it was: %s galaxies then, %s now; it has all that were asked about, "
                "and the campaign goes on with it",
                f"{before['galaxies']:,}",
                f"{len(self.galaxies):,}",
            )
        self.record.update(catalog=facts)

    def _ask_first(self) -> None:
        """The first list, without a model; some of it, drawn at random, to be set aside."""
        options, n = self.options, min(self.options.ask, len(self.galaxies))
        rng = np.random.default_rng([options.seed, self.round.number])
        order = rng.permutation(len(self.galaxies))
        n_aside = min(max(1, round(options.held_out_fraction * n)), n - 2)
        aside, others = order[:n_aside], order[n_aside:n]
        if options.first == TYPICAL:
            others = self._typical(aside, n - n_aside)
        logger.info(
            "No votes yet: %d galaxies (%s) and %d at random that are set aside, from which no model learns",
            len(others),
            START[options.first],
            n_aside,
        )
        mixed = rng.permutation(n_aside + len(others))
        shown = self.galaxies.select(np.concatenate([aside, others])[mixed])
        reasons = [HELD_OUT if place < n_aside else START[options.first] for place in mixed]
        n = len(shown)
        table = pd.DataFrame({"rank": range(1, n + 1), "id_str": shown.ids, "file_loc": shown.paths})
        table = table.assign(score=0.0, reason=reasons, expected="", distance=np.nan, cost=1.0)
        upload = manifests.folder_of(self.round.asked)
        if options.platform is not None:
            told: dict[str, Any] = {"metadata": options.metadata, "urls": options.image_urls}
            as_read = Preprocessing().with_changes(**options.image_changes())
            made = manifests.write_upload(
                upload, table, shown, preprocessing=as_read, num_workers=options.num_workers, **told
            )
            save_failures(made.failures, failures_of(self.round.asked))
        write_list(self.round.asked, table[list(COLUMNS)], [[]] * n, {})

    def _typical(self, aside: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """The rows of galaxies that stand for many others, and are not set aside."""
        names = {self.galaxies.ids[row]: "set aside" for row in aside}
        write_closed(self.round.closed, self.options.id_col, names)
        chosen = prioritise(
            self.options.first_options(
                catalog=as_option(self.galaxies),
                exclude=str(self.round.closed),
                n=n,
                save_loc=str(self.round.folder / "typical.csv"),
            )
        )
        row = {galaxy: place for place, galaxy in enumerate(self.galaxies.ids)}
        return np.array([row[galaxy] for galaxy in chosen.table["id_str"]])

    def _look(self, own: list[Path]) -> _Known:
        """What is known from all that came back; `own` is what belongs to this round."""
        sources = [*self._taken(), *own]
        what = read_what_is_asked(self.folder, self.options)
        so_far = read_votes(sources, what, self.options)
        asked = read_asked(self.over)
        refuse_lost(asked, set(self.galaxies.ids), self.galaxies.name)
        aside = set(asked["id_str"][asked["reason"] == HELD_OUT])
        taught, notes = join_votes(self.galaxies, so_far, aside, self.options)
        return _Known(what, so_far, asked, taught, [*so_far.notes, *notes])

    def _take(self) -> _Known:
        """Begin the round with new votes, or anew with more of them, or go on with those that it has."""
        options, began = self.options, self.round.exports.is_dir()
        new = new_files(options.votes, [*self._taken(), *self.round.sources()])
        if not new and not began:
            if options.votes:
                raise ConfigError(f"--votes: {', '.join(options.votes)} was taken in by an earlier round")
            raise ConfigError("what was answered since the last round? Give it: --votes FILE")
        self._keep_workflow()
        known = self._look([*self.round.sources(), *new])
        if self.record.content["rounds"][-1].get("votes_sha256") == known.so_far.digest():
            raise ConfigError(
                f"no new votes: {', '.join(options.votes)} has none that the last round did not have"
            )
        task = read_labelled(self._how_to_learn(known)).task  # labels that can't be learned end it here
        check_rule(task, options.prioritise_options(checkpoint="model", save_loc=str(self.round.asked)))
        for note in known.notes:
            logger.info("%s", note)
        was = CampaignOptions.from_config(self.record.content["options"])
        if began and changed_options(was, options, free=_FREE):
            logger.info("Round %d is chosen anew, by other options", self.round.number)
            self.round.forget(*self.round.predicted())
        self.record.update(**_described(replace(options, **OF_ONE_ROUND | {"ask_again": options.ask_again})))
        if new:
            if began:
                logger.info("Round %d begins anew, since there are more votes", self.round.number)
            self.round.put_in(new)
        text = votes_text(known.taught, known.what.columns, options.id_col)
        write_safely(self.round.votes, text)
        return known

    def _keep_workflow(self) -> None:
        """Copy a workflow that was given after the start."""
        known = read_what_is_asked(self.folder, self.options)
        if self.options.workflow is None or known.counting is not None:
            return
        for name, content in copies_of(self.options, known.schema).items():
            if not isinstance(content, Schema):
                write_safely(self.folder / name, content)

    def _how_to_learn(self, known: _Known) -> Any:
        return self.options.finetune_options(
            catalog=as_option(known.taught.learning),
            save_dir=str(self.round.model),
            schema=known.what.tree,
            legacy_schema=False,
            split="column",
            split_column=PART,
        )

    def _learn(self, known: _Known) -> None:
        """Teach a model all votes so far, or go on teaching it."""
        wanted, before = self._how_to_learn(known), read_record(self.round.model)
        same = before is not None and not changed_options(
            type(wanted).from_config(before.content["options"]), wanted, free=_SAME_MODEL
        )
        if before is not None and same and before.content["status"] == "finished":
            return
        if not same:
            self.round.forget(*self.round.predicted())
        logger.info(
            "Round %d: learning from %s galaxies", self.round.number, f"{len(known.taught.learning):,}"
        )
        finetune(replace(wanted, resume=same, overwrite=before is not None and not same))

    def _predict(self, known: _Known) -> None:
        """Predict the galaxies that are set aside, then all that can be chosen, in parts."""
        options, own = self.options, {"checkpoint": str(self.round.model)}
        if not self.round.held_out.is_file():
            aside = set(known.asked["id_str"][known.asked["reason"] == HELD_OUT])
            galaxies = self._those(lambda galaxy: galaxy in aside)
            save_loc = str(self.round.held_out)
            predict(options.predict_options(catalog=as_option(galaxies), save_loc=save_loc, **own))
        closed = self._closed(known)
        write_closed(self.round.closed, options.id_col, closed)
        if len(closed) == len(self.galaxies):
            return
        if self.round.predictions.is_dir() and not Parts(self.round.predictions).missing:
            return
        samples = options.n_samples or (1 if options.score == "random" else defaults.ACQUISITION_SAMPLES)
        open_ = self._those(lambda galaxy: galaxy not in closed)
        save_loc = str(self.round.predictions)
        predict(
            options.predict_options(catalog=as_option(open_), save_loc=save_loc, n_samples=samples, **own)
        )

    def _closed(self, known: _Known) -> dict[str, str]:
        """The galaxies that can't be chosen, and why."""
        has_votes = set(known.so_far.table["id_str"])
        rounds = dict(zip(known.asked["id_str"], known.asked["round"], strict=True))
        found = {}
        for galaxy in self.galaxies.ids:
            if galaxy in known.so_far.retired:
                found[galaxy] = "retired"
            elif galaxy in has_votes:
                found[galaxy] = "answered"
            elif galaxy in rounds and not self.options.ask_again:
                found[galaxy] = f"asked in round {rounds[galaxy]}"
        return found

    def _those(self, wanted: Callable[[str], bool]) -> Catalog:
        return self.galaxies.select([row for row, one in enumerate(self.galaxies.ids) if wanted(one)])

    def _choose(self, known: _Known) -> None:
        """Write the next list, and what goes to volunteers."""
        if not self.round.predictions.is_dir():
            logger.info("Every galaxy was asked about or answered: there is none to choose")
            write_safely(self.round.asked, csv_text(pd.DataFrame(columns=list(COLUMNS))))
            return
        prioritise(
            self.options.prioritise_options(
                checkpoint=str(self.round.model),
                predictions=str(self.round.predictions),
                catalog=as_option(self.galaxies),
                exclude=str(self.round.closed),
                save_loc=str(self.round.asked),
                seed=self.options.seed + self.round.number,
            )
        )

    def _close(self, known: _Known | None) -> None:
        """Write what the round asked and taught; with its record, last, it is over."""
        listed = read_asked([self.round])
        chosen = read_record_file(self.round.asked.with_suffix(".run.json"))
        by = "nothing" if chosen is None else chosen.content["score"]
        by = START[self.options.first] if known is None else by
        entry: dict[str, Any] = {"round": self.round.number, "asked": len(listed), "by": by}
        entry |= {"reasons": {str(k): int(v) for k, v in listed["reason"].value_counts().items()}}
        entries = [dict(one) for one in self.record.content["rounds"]]
        if known is not None:
            if chosen is not None and "rule" in chosen.content:
                entry["rule"] = chosen.content["rule"]
            entry |= {"sources": [source.name for source in self.round.sources()], "notes": known.notes}
            entry |= describe_votes(known.so_far, known.taught)
            learned = [one for one in (*self.over, self.round) if one.held_out.is_file()]
            entry |= describe_scores(
                score_rounds(learned, known.taught.held_out, self.options), self.round.number
            )
            now = entry.pop("now")
            entries = [one | {"now": now.get(str(one["round"]))} for one in entries]
            entry["now"] = entry["after"]
        entries.append(entry)
        write_safely(self.folder / "rounds.csv", csv_text(curves_of(entries)))
        for name, draw in pictures_of(entries).items():
            attempt_picture(self.folder / name, self.options.figures, draw)
        kept = self.record.content["options"] | {"ask_again": False}
        self.record.update(rounds=entries, options=kept)


def _stand(folder: Path, options: CampaignOptions, record: RunRecord) -> CampaignResult:
    entries = record.content["rounds"]
    over = [Round.of(folder, entry["round"]) for entry in entries]
    following = Round.of(folder, len(entries) + 1)
    return CampaignResult(
        folder=folder,
        round=len(entries),
        table=read_table(over[-1].asked, text_cols=["id_str", "reason", "expected"]),
        curves=curves_of(entries),
        asked=len(read_asked(over)),
        answered=int(entries[-1].get("answered", 0)),
        retired=int(entries[-1].get("retired", 0)),
        is_under_way=following.exports.is_dir(),
        place=options.campaign,
        pictures=pictures_of(entries),
        clicking=words_to_click(over[-1].asked, options),
    )
