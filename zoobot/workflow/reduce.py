"""The guided reduction of features: standardised, principal components, or a map."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.features.projections import Projection, draw_map, fit_projection
from zoobot.shared.features.tables import read_feature_chunks, read_features
from zoobot.shared.predictions import read_prediction_metadata
from zoobot.shared.tables.destination import Destination
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.workflow.reporting import Reported, quoted
from zoobot.workflow.run_folder import table_run

if TYPE_CHECKING:
    from zoobot.options.reduce import ReduceOptions

logger = logging.getLogger("zoobot")

#: What decides whether features of two tables are the same numbers.
_DECISIVE = ("models", "task", "preprocessing")


@dataclass(frozen=True, kw_only=True, repr=False)
class ReduceResult(Reported):
    """Features reduced.

    Args:
        save_loc: The table.
        galaxies: Its rows.
        columns: Its columns of numbers.
        explained: The share of all variance that they keep; of a map, what it was drawn from.
        projection: The file with what was fitted, or taken.
    """

    save_loc: Path
    galaxies: int
    columns: list[str]
    explained: float
    projection: Path

    def report(self) -> str:
        """What came out, as a text to read."""
        return "\n".join(
            [
                f"{len(self.columns):,} numbers for each of {self.galaxies:,} galaxies, with "
                f"{self.explained:.1%} of the variance: {self.save_loc}",
                "for other galaxies of the same model, the same again:",
                f"  zoobot reduce OTHERS --projection {quoted(self.projection)} --save-loc FILE",
            ]
        )


def reduce(options: ReduceOptions, *, command: str = "zoobot.workflow.reduce") -> ReduceResult:
    """Standardise features, or reduce them to principal components or a map; only maps take memory.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the features can't be used, are others than the projection was fitted to, or the table
            exists.
    """
    save_loc = Destination.of(options.save_loc).free(overwrite=options.overwrite)
    origin = read_prediction_metadata(options.features)
    if options.projection is None:
        logger.info("Fitting a projection to %s", options.features)
        projection = fit_projection(
            (features for _, features in read_feature_chunks(options.features)),
            components=options.pca,
            standardise=options.standardise,
            whiten=options.whiten,
            origin=origin,
        )
        place = projection.save(save_loc.with_suffix(".projection.safetensors"))
    else:
        place = Path(options.projection).expanduser()
        projection = Projection.load(place)
        _refuse_other_features(origin, projection.origin, options)
    with table_run(save_loc, "reduce", options, command=command):
        facts = {"components": options.pca, "explained": projection.explained, "file": place.name}
        written = _write(save_loc, projection, options, {**origin, "projection": facts})
    return ReduceResult(
        save_loc=save_loc,
        galaxies=written,
        columns=_columns(projection, options),
        explained=projection.explained,
        projection=place,
    )


def _write(save_loc: Path, projection: Projection, options: ReduceOptions, origin: dict[str, Any]) -> int:
    with PredictionWriter(save_loc, _columns(projection, options), metadata=origin) as writer:
        if options.umap is not None:
            table = read_features(options.features)
            reduced = projection.apply(table.features)
            writer.write(table.ids, draw_map(reduced, dimensions=options.umap, seed=options.seed))
            return len(table)
        written = 0
        for ids, features in read_feature_chunks(options.features):
            writer.write(ids, projection.apply(features))
            written += len(ids)
        return written


def _columns(projection: Projection, options: ReduceOptions) -> list[str]:
    if options.umap is None:
        return projection.output_columns
    return [f"umap_{number}" for number in range(options.umap)]


def _refuse_other_features(ours: dict[str, Any], theirs: dict[str, Any], options: ReduceOptions) -> None:
    differing = [name for name in _DECISIVE if name in ours and name in theirs and ours[name] != theirs[name]]
    if differing:
        msg = f"{options.projection} was fitted to other features than those in {options.features}: "
        msg += f"their {' and '.join(differing)} differ"
        raise ConfigError(msg)
