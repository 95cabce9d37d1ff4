"""Rare galaxies planted among many others, with an encoder's features: simulated, and real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.features.tables import FeatureTable, read_features
from zoobot.simulate import simulate_survey

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ENCODER", "Drawn", "Planted", "real_sets", "simulated_sets"]

ENCODER = "zoobot-mini"
SHARE = 0.01

#: What is simulated: kinds of galaxies, share of rings, number, seed.
SURVEYS: dict[str, tuple[dict[str, float], float, int, int]] = {
    "rings": ({"disk": 1}, 1.0, 200, 11),
    "mergers": ({"merger": 1}, 0.0, 200, 12),
    "artifacts": ({"artifact": 1}, 0.0, 200, 13),
    "smooth": ({"smooth": 1}, 0.0, 4000, 14),
    "disks": ({"disk": 0.75, "edge-on": 0.25}, 0.0, 2000, 15),
}
KINDS = ("rings", "mergers", "artifacts")
ALL = "rings, mergers, artifacts"


class Drawn(NamedTuple):
    """Galaxies in which rare ones are planted: ids, features (galaxies, width), and which are rare."""

    ids: list[str]
    features: NDArray[np.float32]
    is_rare: NDArray[np.bool_]


@dataclass(frozen=True)
class Planted:
    """Many galaxies, and the rare ones that some are drawn of.

    Attributes:
        common: Ids and features of the many.
        rare: The same of each kind of rare galaxies.
        share: Rare galaxies among all, at most; None plants all there are.
    """

    common: tuple[list[str], NDArray[np.float32]]
    rare: tuple[tuple[list[str], NDArray[np.float32]], ...]
    share: float | None = SHARE

    def draw(self, seed: int) -> Drawn:
        """The many with rare ones drawn at random, in random order."""
        rng = np.random.default_rng(seed)
        ids, features = list(self.common[0]), [self.common[1]]
        for names, values in self.rare:
            wanted = len(names)
            if self.share is not None:
                wanted = max(1, round(self.share * len(self.common[0]) / len(self.rare)))
            rows = rng.permutation(len(names))[:wanted]
            ids += [names[row] for row in rows]
            features.append(values[rows])
        order = rng.permutation(len(ids))
        is_rare = np.arange(len(ids)) >= len(self.common[0])
        return Drawn([ids[row] for row in order], np.concatenate(features)[order], is_rare[order])


def simulated_sets(work: Path, engine: Any, *, quick: bool) -> dict[str, Planted]:
    """Rings, mergers and artifacts, alone and together, among smooth galaxies and among ordinary ones."""
    made = {}
    for name, (kinds, rings, number, seed) in SURVEYS.items():
        wanted = number // 20 if quick else number
        folder = work / f"{name}-{wanted}"
        catalog = simulate_survey(
            folder / "survey", n_galaxies=wanted, seed=seed, kinds=kinds, ring_fraction=rings
        )
        table = encode(engine, catalog, folder / "features.parquet")
        made[name] = (table.ids, table.features)
    some = len(made["smooth"][0]) * 3 // 8
    ordinary = (
        made["smooth"][0][:some] + made["disks"][0],
        np.concatenate([made["smooth"][1][:some], made["disks"][1]]),
    )
    sets = {}
    for title, common in (("smooth", made["smooth"]), ("all ordinary", ordinary)):
        for kind in KINDS:
            sets[f"{kind} among {title} (simulated)"] = Planted(common, (made[kind],))
        sets[f"{ALL} among {title} (simulated)"] = Planted(common, tuple(made[kind] for kind in KINDS))
    return sets


def real_sets(data: Path, work: Path, engine: Any) -> dict[str, Planted]:
    """A rare class among others of `gz2_classes`, and what volunteers called odd among `gz2_votes`."""
    sets = {}
    table = pd.read_csv(data / "gz2_classes/catalog.csv", dtype={"id_str": str}).set_index("id_str")
    features = encode(
        engine, data / "gz2_classes/catalog.csv", work / "gz2_classes.parquet", crop_fraction=1.0
    )
    labels = table.loc[features.ids]
    rows = {
        name: (labels["label_name"] == name).to_numpy()
        for name in ("smooth-round", "smooth-in-between", "smooth-cigar", "edge-on", "spiral")
    }
    kept_aside = (labels["split"] == "val").to_numpy()
    smooth = rows["smooth-round"] | rows["smooth-in-between"]
    for name, common in {
        "smooth-cigar": smooth,
        "edge-on": smooth | rows["spiral"],
        "spiral": smooth | rows["edge-on"],
    }.items():
        sets[f"{name} among other classes (GZ2)"] = Planted(
            some(features, common), (some(features, rows[name] & kept_aside),)
        )
    votes = pd.read_csv(data / "gz2_votes/votes.csv", dtype={"id_str": str}).set_index("id_str")
    features = encode(engine, data / "gz2_votes/votes.csv", work / "gz2_votes.parquet")
    votes = votes.loc[features.ids]
    for name, is_it in odd_galaxies(votes).items():
        sets[f"{name} (GZ2)"] = Planted(some(features, ~is_it), (some(features, is_it),), share=None)
    return sets


def odd_galaxies(votes: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """What most volunteers see as odd, by what most of them see in it."""
    odd = votes["something-odd-gz2_yes"] / (votes["something-odd-gz2_yes"] + votes["something-odd-gz2_no"])
    kinds = votes.filter(like="odd-feature-gz2_")
    seen = kinds.div(kinds.sum(axis=1), axis=0)
    found = {
        f"odd: {name}": ((odd > 0.5) & (seen[f"odd-feature-gz2_{name}"] > 0.5)).to_numpy()
        for name in ("merger", "ring", "irregular")
    }
    answers = votes.filter(like="smooth-or-featured-gz2_")
    artifact = answers["smooth-or-featured-gz2_artifact"] / answers.sum(axis=1)
    return {"artifact": (artifact > 0.3).to_numpy(), **found}


def some(table: FeatureTable, which: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.float32]]:
    """The ids and features of some galaxies of a table."""
    return [table.ids[row] for row in np.flatnonzero(which)], table.features[which]


def encode(engine: Any, catalog: Path, place: Path, *, crop_fraction: float | None = None) -> FeatureTable:
    """The features of a catalog, kept in a file."""
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        model = ENCODER
        if crop_fraction is not None:
            model = engine.finetune.FinetuneableZoobotClassifier(
                name=ENCODER, num_classes=2, preprocessing={"crop_fraction": crop_fraction}
            )
        engine.represent.represent(catalog, model, save_loc=place, progress=False)
    return read_features(place)
