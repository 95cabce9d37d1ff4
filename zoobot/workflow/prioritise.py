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
from zoobot.choosing.rules import MOST_BELOW, RANDOM, Rule, RuleChoice, choose_by_rule, rule_probabilities
from zoobot.shared import defaults, tasks
from zoobot.shared.catalog import check_columns
from zoobot.shared.catalogs.columns import read_ids
from zoobot.shared.catalogs.tables import read_table as read_any_table
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, PredictionsError
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.predicting.members import shared_task
from zoobot.shared.predictions import read_prediction_metadata, read_samples
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.destination import failures_of
from zoobot.workflow.galaxies import read_galaxies, select_galaxies
from zoobot.workflow.pictures import attempt_picture, draw_galaxies
from zoobot.workflow.predict import save_failures
from zoobot.workflow.reporting import Reported, failure_lines
from zoobot.workflow.run_folder import table_run
from zoobot.zooniverse import manifests

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from zoobot.options.groups import EngineOptions
    from zoobot.options.prioritise import PrioritiseOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.engine import Engine, Model
    from zoobot.shared.features.tables import FeatureTable
    from zoobot.shared.tasks import Task

# What the members of an ensemble, or dropout samples, say of galaxies, and features to keep these apart.

logger = logging.getLogger("zoobot")


class Members(NamedTuple):
    """What is known of galaxies that may be labelled.

    Attributes:
        task: What was predicted.
        ids: The galaxies, in the order of the catalog.
        predictions: (samples, galaxies, outputs).
        features: (galaxies, features); None where nobody encoded them.
        labelled: Features of galaxies that are labelled already; None without any.
        preprocessing: How images are read; None where a table of predictions does not say.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    task: Task
    ids: list[str]
    predictions: NDArray
    features: NDArray | None
    labelled: NDArray | None
    preprocessing: Preprocessing | None
    failures: pd.DataFrame


def ask_models(galaxies: Catalog, labelled: Catalog, options: PrioritiseOptions) -> Members:
    """Encode galaxies, and predict them by every member.

    Args:
        galaxies: Those that may be labelled.
        labelled: Those that are; they are encoded, to keep away from.
        options: Models, samples, seed.

    Raises:
        CheckpointError: If a folder holds no model.
        ConfigError: If the models predict different things.
        ImageError: If not one image could be read.
    """
    engine = load_engine(options.backend)
    places = [find_checkpoint(place) for place in (str(options.checkpoint), *options.ensemble)]
    models = [engine.checkpoint.load(place) for place in places]
    for model in models:
        read_otherwise(model, options.image_changes())
    task = shared_task([model.task for model in models])
    _check_rule(task, options)
    n_samples = options.n_samples or (1 if options.ensemble else defaults.ACQUISITION_SAMPLES)
    logger.info("Encoding %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
    tell_pixels(*models)
    found = [represent_galaxies(engine, model, galaxies, options) for model in models]
    read = set.intersection(*(set(one.ids) for one in found))
    ids = [galaxy for galaxy in galaxies.ids if galaxy in read]
    features = [_rows(one, ids) for one in found]
    predictions = [
        engine.represent.predict_features(own, model, n_samples=n_samples, seed=options.seed + number)
        for number, (own, model) in enumerate(zip(features, models, strict=True))
    ]
    away = represent_galaxies(engine, models[0], labelled, options).features if len(labelled) else None
    return Members(
        task=task,
        ids=ids,
        predictions=np.concatenate(predictions),
        features=features[0],
        labelled=away,
        preprocessing=models[0].preprocessing,
        failures=pd.concat([one.failures for one in found]).drop_duplicates("id_str", ignore_index=True),
    )


def read_table(
    galaxies: Catalog, labelled: Catalog, options: PrioritiseOptions, *, needs_features: bool
) -> Members:
    """Read what was predicted of galaxies; encode them only if they are to be kept apart.

    Args:
        galaxies: Those that may be labelled.
        labelled: Those that are.
        options: The table, and the model that encodes.
        needs_features: Whether galaxies are encoded.

    Raises:
        PredictionsError: If the table can't be used, or does not say of which task it is and no model does.
        CatalogError: If it has none of the galaxies.
        CheckpointError: If there is no model to encode with.
    """
    table = str(options.predictions)
    facts = read_prediction_metadata(table)
    engine = model = None
    if needs_features or "task" not in facts:
        if options.checkpoint is None:
            msg = f"{table} does not say of which task it is: give the model that predicted it (--checkpoint)"
            raise PredictionsError(msg)
        place = find_checkpoint(options.checkpoint)
        engine = load_engine(options.backend)
        model = engine.checkpoint.load(place)
        read_otherwise(model, options.image_changes())
    task = model.task if model is not None else tasks.from_config(facts["task"])
    _check_rule(task, options)
    blocks = list(read_samples(table, task.output_columns))
    row = {galaxy: row for row, galaxy in enumerate(galaxy for ids, _ in blocks for galaxy in ids)}
    ids = [galaxy for galaxy in galaxies.ids if galaxy in row]
    if not ids:
        msg = f"{table} has predictions of none of the {len(galaxies):,} galaxies of {galaxies.name}"
        raise CatalogError(msg)
    if len(ids) < len(galaxies):
        logger.warning("%s galaxies have no prediction and are left out", f"{len(galaxies) - len(ids):,}")
    features = away = None
    failures = pd.DataFrame(columns=["id_str", "file_loc", "reason"])
    if needs_features and engine is not None and model is not None:
        wanted = set(ids)
        known = galaxies.select([place for place, one in enumerate(galaxies.ids) if one in wanted])
        encoded = represent_galaxies(engine, model, known, options)
        ids, features, failures = encoded.ids, encoded.features, encoded.failures
        away = represent_galaxies(engine, model, labelled, options).features if len(labelled) else None
    values = np.concatenate([values for _, values in blocks], axis=1)
    return Members(
        task=task,
        ids=ids,
        predictions=values[:, [row[galaxy] for galaxy in ids]],
        features=features,
        labelled=away,
        preprocessing=_stored_preprocessing(facts) if model is None else model.preprocessing,
        failures=failures,
    )


def represent_galaxies(
    engine: Engine, model: Model, galaxies: Catalog, options: EngineOptions
) -> FeatureTable:
    """Features of galaxies, by the batch size and threads that were chosen."""
    return engine.represent.represent(
        galaxies,
        model,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        progress=options.progress,
    )


def _rows(found: FeatureTable, ids: list[str]) -> NDArray:
    if found.ids == ids:
        return found.features
    row = {galaxy: row for row, galaxy in enumerate(found.ids)}
    return found.features[[row[galaxy] for galaxy in ids]]


def _stored_preprocessing(facts: dict[str, Any]) -> Preprocessing | None:
    """The record that a table of predictions keeps; of several, the first."""
    config = facts.get("preprocessing")
    config = config[0] if isinstance(config, list) else config
    return None if config is None else Preprocessing.from_config(config)


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
        if options.predictions is None:
            away = labelled if options.answer is None else labelled.select([])
            members = ask_models(galaxies, away, options)
        else:
            members = read_table(galaxies, labelled, options, needs_features=encodes)
        row = {galaxy: row for row, galaxy in enumerate(galaxies.ids)}
        known = galaxies.select(np.array([row[galaxy] for galaxy in members.ids]))
        cost = None if price is None else price[[row[galaxy] for galaxy in members.ids]]
        picked = _pick(members, cost, options, encodes=encodes)
        table, questions, shown = _list(members, picked, known, cost)
        origin = {"score": picked.score, "task": members.task.to_config(), "catalog": galaxies.name}
        upload = None
        if folder is not None:
            upload = _write_upload(folder, members, picked, table, shown, known, options)
        write_list(save_loc, table, questions, origin | picked.facts)
        lost = members.failures if upload is None else pd.concat([members.failures, upload.failures])
        failures = save_failures(lost, failures_of(save_loc))
        picture = None
        if options.picture:
            place = save_loc.with_suffix("")
            picture = attempt_picture(
                place, options.figures, _draw_first, members, shown, picked.chosen, table
            )
        record.update(score=picked.score, chosen=len(table), cost=picked.chosen.cost, **picked.facts)
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


def _rule_of(options: PrioritiseOptions) -> Rule | None:
    if options.answer is None:
        return None
    return Rule(
        answer=options.answer,
        fraction=options.fraction,
        probability=options.probability or defaults.RULE_PROBABILITY,
        random_share=options.random_share or 0.0,
    )


def _check_rule(task: Task, options: PrioritiseOptions) -> None:
    rule = _rule_of(options)
    if rule is not None:
        rule.find_output(task)


def _pick(members: Members, cost: np.ndarray | None, options: PrioritiseOptions, *, encodes: bool) -> _Picked:
    """What a score, or a rule, chooses."""
    if options.answer is not None:
        return _by_rule(members, options)
    score = choose_score(members.task, options.score)
    found = score_galaxies(
        members.task, members.predictions, score=score, n_volunteers=options.volunteers, seed=options.seed
    )
    found = found if options.questions is None else only_parts(found, options.questions)
    return _Picked(score, found, _choose(members, found, cost, options, encodes=encodes))


def _by_rule(members: Members, options: PrioritiseOptions) -> _Picked:
    rule = cast("Rule", _rule_of(options))
    by_member = rule_probabilities(members.task, members.predictions, rule)
    picked = choose_by_rule(members.task, by_member, rule, options.n, seed=options.seed)
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
    members: Members, picked: _Picked, galaxies: Catalog, cost: np.ndarray | None
) -> tuple[pd.DataFrame, list[list[dict[str, Any]]], Catalog]:
    """The rows of the list, what is worth asking of each, and the galaxies themselves."""
    rows, found = picked.chosen.rows, picked.found
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
            "reason": reasons if picked.rule is None else picked.rule.reasons,
            "expected": expected,
            "distance": picked.chosen.distances,
            "cost": np.ones(len(rows)) if cost is None else cost[rows],
        }
    )
    return table, worth_asking(members.task, own, predicted), shown


def _draw_first(members: Members, shown: Catalog, chosen: Chosen, table: pd.DataFrame) -> Figure | None:
    """The first galaxies beside what is expected of them; none where nobody knows how to read images."""
    if members.preprocessing is None:
        logger.warning("The predictions do not say how images are read: no picture")
        return None
    first = table.head(_DRAWN)
    predicted = members.predictions[:, chosen.rows[:_DRAWN]]
    mean = members.task.expect(members.task.mix(predicted))
    names = [f"{row.rank}. {row.id_str}\n{row.reason}: {row.expected}" for row in first.itertuples()]
    galaxies = shown.select(np.arange(len(first)))
    return draw_galaxies(members.task, members.preprocessing, galaxies, mean, names=names)
