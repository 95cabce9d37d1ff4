"""The guided search for strange galaxies: features, a ranked list, a picture of the first."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared.features.anomalies import score_anomalies
from zoobot.shared.features.tables import read_features
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import replacing
from zoobot.shared.tables.destination import free_list
from zoobot.workflow.pictures import draw_sheet, find_images
from zoobot.workflow.reporting import Reported
from zoobot.workflow.run_folder import table_run

if TYPE_CHECKING:
    from zoobot.options.anomalies import AnomaliesOptions

logger = logging.getLogger("zoobot")

_DRAWN = 30


@dataclass(frozen=True, kw_only=True, repr=False)
class AnomaliesResult(Reported):
    """The strangest galaxies.

    Args:
        save_loc: The list.
        table: `rank`, `id_str`, `file_loc` (empty where unknown), `score`: the strangest first.
        looked_at: How many galaxies have features.
        picture: The picture of the first galaxies, if there is one.
    """

    save_loc: Path
    table: pd.DataFrame
    looked_at: int
    picture: Path | None

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = [f"the {len(self.table):,} strangest of {self.looked_at:,} galaxies: {self.save_loc}"]
        if self.picture is not None:
            lines.append(f"the first of them: {self.picture}")
        return "\n".join(lines)


def anomalies(options: AnomaliesOptions, *, command: str = "zoobot.workflow.anomalies") -> AnomaliesResult:
    """Rank the galaxies of a table of features by how strange they are, and write the list.

    Beside the list `NAME.csv` lie `NAME.png`, if a catalog says where the images are, and `NAME.run.json`.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the features or the catalog can't be used, or the list exists.
    """
    save_loc = free_list(options.save_loc, (".csv",), overwrite=options.overwrite)
    features = read_features(options.features)
    file_locs = find_images(features.ids, options, features.origin)
    facts = {"source": options.features, "galaxies": len(features), "origin": features.origin}
    with table_run(save_loc, "anomalies", options, command=command, data={"features": facts}) as record:
        logger.info("Looking for the strangest of %s galaxies", f"{len(features):,}")
        scores = score_anomalies(
            features.ids,
            features.features,
            method=options.method,
            n_components=options.components,
            neighbours=options.neighbours,
            fitted_to=options.fitted_to,
            seed=options.seed,
        )
        first = np.argsort(-scores, kind="stable")[: options.n]
        table = pd.DataFrame(
            {
                "rank": np.arange(1, len(first) + 1),
                "id_str": [features.ids[row] for row in first],
                "file_loc": [file_locs[row] for row in first],
                "score": scores[first],
            }
        )
        with replacing(save_loc) as draft:
            write_csv(table, draft)
        picture = None
        if options.picture:
            shown = table.head(_DRAWN)
            names = [f"{row.rank}. {row.id_str}\n{row.score:.3g}" for row in shown.itertuples()]
            place, file_locs = save_loc.with_suffix(""), shown["file_loc"].tolist()
            web = options.web_access()
            picture = draw_sheet(place, options.figures, file_locs, names, features.origin, web=web)
        record.update(listed=len(table))
    return AnomaliesResult(save_loc=save_loc, table=table, looked_at=len(scores), picture=picture)
