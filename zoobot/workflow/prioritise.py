"""The guided choice of galaxies to label next: a model, a catalog, a ranked list with reasons."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd

from zoobot.choosing.acquisition import Acquisition, choose_score, only_parts, score_galaxies
from zoobot.choosing.diversity import Chosen, choose_galaxies
from zoobot.choosing.priority_list import check_list_place, explain, worth_asking, write_list
from zoobot.choosing.rules import MOST_BELOW, RANDOM, RuleChoice, choose_by_rule, rule_probabilities
from zoobot.choosing.strategy_names import TYPICAL
from zoobot.shared.catalog import check_columns
from zoobot.shared.catalogs.columns import read_ids
from zoobot.shared.catalogs.tables import read_table as read_any_table
from zoobot.shared.errors import CatalogError
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.destination import failures_of
from zoobot.workflow.galaxies import read_galaxies, select_galaxies
from zoobot.workflow.members import Members, ask_models, encode_alone, read_table, rule_of
from zoobot.workflow.pictures import attempt_picture, draw_galaxies, draw_sheet
from zoobot.workflow.predict import save_failures
from zoobot.workflow.reporting import Reported, failure_lines
from zoobot.workflow.run_folder import table_run
from zoobot.zooniverse import manifests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from zoobot.choosing.rules import Rule
    from zoobot.options.prioritise import PrioritiseOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.tasks import Task

logger = logging.getLogger("zoobot")

_DRAWN = 12
_REASONS_SHOWN = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class PrioritiseResult(Reported):
    """The galaxies to label next.

    Args:
        save_loc: The list.
        table: A row for each galaxy, the first first: see `zoobot.choosing.priority_list.COLUMNS`.
        looked_at: How many galaxies could have been chosen.
        score: How their labels were valued.
        reasons: How often each reason occurs among the chosen, most frequent first.
        picture: The picture of the first galaxies, if there is one.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        above: How many galaxies fulfil the rule; None without one.
        upload: What lies ready for a platform of volunteers, if that was asked for.
    """

    save_loc: Path
    table: pd.DataFrame
    looked_at: int
    score: str
    reasons: dict[str, int]
    picture: Path | None
    failures: pd.DataFrame
    above: int | None = None
    upload: manifests.Upload | None = None

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = ["", f"{len(self.table):,} of {self.looked_at:,} galaxies, by {self.score}: {self.save_loc}"]
        lines += [f"  {count:>5,} × {reason}" for reason, count in self.reasons.items()]
        if self.above is not None:
            lines.append(f"{self.above:,} fulfil the rule, {self.looked_at - self.above:,} are below it")
        if self.picture is not None:
            lines.append(f"the first of them: {self.picture}")
        lines += [] if self.upload is None else self.upload.report()
        return "\n".join([*lines, *failure_lines(self.failures, failures_of(self.save_loc))])


def prioritise(
    options: PrioritiseOptions, *, command: str = "zoobot.workflow.prioritise"
) -> PrioritiseResult:
    """Rank the galaxies of a catalog by what their labels would teach, and write the list.

    Beside the list `NAME.csv` lie `NAME.png`, `NAME.run.json`, where images failed `NAME.failures.csv`, and
    for a platform of volunteers `NAME.zooniverse`.
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
    folder = _check_platform(save_loc, galaxies, options)
    encodes = options.answer is None and options.diversity != "none" and options.checkpoint is not None
    data = {"catalog": galaxies.record()}
    with table_run(save_loc, "prioritise", options, command=command, data=data) as record:
        if options.score == TYPICAL:
            members = encode_alone(galaxies, labelled, options)
        elif options.predictions is None:
            away = labelled if options.answer is None else labelled.select([])
            members = ask_models(galaxies, away, options)
        else:
            members = read_table(galaxies, labelled, options, needs_features=encodes)
        row = {galaxy: row for row, galaxy in enumerate(galaxies.ids)}
        known = galaxies.select(np.array([row[galaxy] for galaxy in members.ids]))
        cost = None if price is None else price[[row[galaxy] for galaxy in members.ids]]
        picked = _pick(members, cost, options, encodes=encodes)
        table, questions, shown = _list(members, picked, known, cost)
        task = None if members.task is None else members.task.to_config()
        origin = {"score": picked.score, "task": task, "catalog": galaxies.name}
        upload = None
        if folder is not None:
            upload = _write_upload(folder, members, picked, table, shown, known, options)
        lost = members.failures if upload is None else pd.concat([members.failures, upload.failures])
        failures = save_failures(lost, failures_of(save_loc))
        record.update(score=picked.score, chosen=len(table), cost=picked.chosen.cost, **picked.facts)
        write_list(save_loc, table, questions, origin | picked.facts)  # all that tells of it is there by now
        picture = None
        if options.picture:
            place = save_loc.with_suffix("")
            picture = _attempt_first(place, options.figures, members, shown, picked.chosen, table)
    counts = table["reason"].value_counts()
    return PrioritiseResult(
        save_loc=save_loc,
        table=table,
        looked_at=len(members.ids),
        score=picked.score,
        reasons={str(name): int(count) for name, count in counts.head(_REASONS_SHOWN).items()},
        picture=picture,
        failures=failures,
        above=None if picked.rule is None else picked.rule.above,
        upload=upload,
    )


class _Picked(NamedTuple):
    """Galaxies that were chosen, and by what."""

    score: str
    found: Acquisition
    chosen: Chosen
    rule: RuleChoice | None = None
    by_member: NDArray | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012  never changed


def _pick(members: Members, cost: np.ndarray | None, options: PrioritiseOptions, *, encodes: bool) -> _Picked:
    """What a score, or a rule, chooses."""
    if options.answer is not None:
        return _by_rule(members, options)
    if members.task is None:
        drawn = np.random.default_rng(options.seed).random(len(members.ids))
        found = Acquisition(drawn, drawn[:, None], (TYPICAL,))
        chosen = _choose(members, found, cost, options, "clusters")
        return _Picked(TYPICAL, found, chosen, facts={"diversity": "clusters"})
    score = choose_score(members.task, options.score)
    found = score_galaxies(
        members.task, members.predictions, score=score, n_volunteers=options.volunteers, seed=options.seed
    )
    found = found if options.questions is None else only_parts(found, options.questions)
    diversity = _diversity(members.task, score, options, encodes=encodes)
    chosen = _choose(members, found, cost, options, diversity)
    return _Picked(score, found, chosen, facts={"diversity": diversity})


def _diversity(task: Task, score: str, options: PrioritiseOptions, *, encodes: bool) -> str:
    """How galaxies are kept apart; what is known to teach a whole tree more is said."""
    diversity = options.diversity or ("kmeans++" if encodes else "none")
    if task.tree is not None and score != "random" and options.questions is None:
        logger.log(
            logging.WARNING if diversity == "none" else logging.INFO,
            "For a whole tree the best scores taught %s than random galaxies (README); one of each cluster "
            "taught more where the encoder knows galaxies well (--score random --diversity clusters). If "
            "some questions count, name them (--questions)",
            "less" if diversity == "none" else "no more",
        )
    return diversity


def _by_rule(members: Members, options: PrioritiseOptions) -> _Picked:
    rule, task = cast("Rule", rule_of(options)), cast("Task", members.task)
    by_member = rule_probabilities(task, members.predictions, rule)
    picked = choose_by_rule(task, by_member, rule, options.n, seed=options.seed)
    share = picked.below / len(members.ids)
    if share >= MOST_BELOW:
        logger.warning(
            "%s of %s galaxies (%.0f %%) are below the rule %s ≥ %g: is it what you mean?",
            f"{picked.below:,}",
            f"{len(members.ids):,}",
            100 * share,
            rule.name,
            rule.probability,
        )
    drawn = picked.reasons.count(RANDOM)
    facts = {"rule": {**asdict(rule), "above": picked.above, "below": picked.below, "random": drawn}}
    return _Picked(rule.name, picked.found, picked.chosen, picked, by_member, facts)


def _check_platform(save_loc: Path, galaxies: Catalog, options: PrioritiseOptions) -> Path | None:
    """The folder for a platform, once all that goes into it is found to be there; None without one."""
    folder = manifests.folder_of(save_loc)
    if options.platform is not None:
        manifests.check_upload(
            folder,
            galaxies,
            metadata=options.metadata,
            urls=options.image_urls,
            subject_col=options.subject_col,
            overwrite=options.overwrite,
        )
        return folder
    if folder.exists():
        logger.warning("%s is of an older list: don't upload it as this one", folder)
    return None


def _write_upload(
    folder: Path,
    members: Members,
    picked: _Picked,
    table: pd.DataFrame,
    shown: Catalog,
    known: Catalog,
    options: PrioritiseOptions,
) -> manifests.Upload:
    assistant = None
    if options.subject_col is not None and picked.by_member is not None:
        assistant = manifests.subject_numbers(options.subject_col, known), picked.by_member
    preprocessing = members.preprocessing
    if preprocessing is None:
        preprocessing = Preprocessing().with_changes(**options.image_changes())
    return manifests.write_upload(
        folder,
        table,
        shown,
        preprocessing=preprocessing,
        metadata=options.metadata,
        urls=options.image_urls,
        assistant=assistant,
        num_workers=options.num_workers,
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
    diversity: str,
) -> Chosen:
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
    members: Members, picked: _Picked, galaxies: Catalog, cost: np.ndarray | None
) -> tuple[pd.DataFrame, list[list[dict[str, Any]]], Catalog]:
    """The rows of the list, what is worth asking of each, and the galaxies themselves."""
    rows, found = picked.chosen.rows, picked.found
    own = Acquisition(found.score[rows], found.parts[rows], found.names)
    predicted = members.predictions[:, rows]
    task = members.task
    reasons, expected = explain(task, own, predicted) if task else (own.reasons, [""] * len(rows))
    shown = galaxies.select(rows)
    table = pd.DataFrame(
        {
            "rank": np.arange(1, len(rows) + 1),
            "id_str": shown.ids,
            "file_loc": shown.paths,
            "score": own.score,
            "reason": reasons if picked.rule is None else picked.rule.reasons,
            "expected": expected,
            "distance": picked.chosen.distances,
            "cost": np.ones(len(rows)) if cost is None else cost[rows],
        }
    )
    return table, worth_asking(task, own, predicted) if task else [[] for _ in rows], shown


def _attempt_first(
    place: Path, formats: Sequence[str], members: Members, shown: Catalog, chosen: Chosen, table: pd.DataFrame
) -> Path | None:
    """The first galaxies, beside what is expected of them where something is."""
    if members.preprocessing is None:
        logger.warning("The predictions do not say how images are read: no picture")
        return None
    if members.task is not None:
        return attempt_picture(
            place, formats, _draw_first, members.task, members.preprocessing, members, shown, chosen, table
        )
    first = table.head(_DRAWN)
    names = [f"{row.rank}. {row.id_str}" for row in first.itertuples()]
    return draw_sheet(
        place,
        formats,
        first["file_loc"].tolist(),
        names,
        {"preprocessing": members.preprocessing.to_config()},
    )


def _draw_first(
    task: Task,
    preprocessing: Preprocessing,
    members: Members,
    shown: Catalog,
    chosen: Chosen,
    table: pd.DataFrame,
) -> Figure:
    first = table.head(_DRAWN)
    predicted = members.predictions[:, chosen.rows[:_DRAWN]]
    mean = task.expect(task.mix(predicted))
    names = [f"{row.rank}. {row.id_str}\n{row.reason}: {row.expected}" for row in first.itertuples()]
    galaxies = shown.select(np.arange(len(first)))
    return draw_galaxies(task, preprocessing, galaxies, mean, names=names)
