"""The galaxies that zoobot-mini learns from: several labelled surveys as one catalog of votes.

Every label becomes votes on one schema of three campaigns, so that one model learns from all of them:

- `gz2_full`: the votes of Galaxy Zoo 2 volunteers, as they are;
- `gz2_classes`: five classes of GZ2 galaxies; the class of a galaxy is the answer of ten volunteers;
- `efigi`: fifteen attributes, each from 0 to 1 in quarters; so many of four volunteers say yes; and the stage
  on the Hubble sequence, on which ten agree.

Frames are made alike too: the central 340 px of Galaxy Zoo's 424, of which the network sees the central 256;
what is around them is for views that are rotated or zoomed out. Sets whose images end before are continued by
reflection.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pandas as pd

from zoobot.shared import schemas
from zoobot.shared.schemas import Schema

__all__ = ["CROP_FRACTION", "FIELD_CROP_FRACTION", "UNBIASED_VOTES", "mini_schema", "prepare"]

FIELD_SIZE_PIX, FRAME_SIZE_PIX, SEEN_SIZE_PIX = 424, 340, 256
CROP_FRACTION = SEEN_SIZE_PIX / FRAME_SIZE_PIX
FIELD_CROP_FRACTION = SEEN_SIZE_PIX / FIELD_SIZE_PIX

VOTES = {"gz2_votes": "votes.csv", "gz2_votes_extra": "votes.csv", "gz2_counts": "catalog.csv"}
#: Whose galaxies were not chosen for what volunteers said of them.
UNBIASED_VOTES = "gz2_votes"
UNBIASED = (UNBIASED_VOTES, "gz2_classes", "efigi")
CLASSES = ("smooth-round", "smooth-in-between", "smooth-cigar", "edge-on", "spiral")
CLASS_VOTES = 10
ATTRIBUTES = (
    "Bulge_to_Total", "Arm_Strength", "Arm_Curvature", "Bar_Length", "Inner_Ring", "Outer_Ring",
    "Pseudo_Ring", "Perturbation", "Visible_Dust", "Dust_Dispersion", "Flocculence", "Hot_Spots",
    "Inclination", "Contamination", "Multiplicity",
)  # fmt: skip
ATTRIBUTE_VOTES = 4
#: The stages T from -6 to 11, by their names.
STAGES = (
    "cE", "E", "cD", "S0-early", "S0-middle", "S0-late", "S0a", "Sa", "Sab", "Sb", "Sbc", "Sc", "Scd", "Sd",
    "Sdm", "Sm", "Im", "dE",
)  # fmt: skip
STAGE, FIRST_STAGE = "hubble-stage-efigi", -6
STAGE_VOTES = 10


def mini_schema() -> Schema:
    """The three campaigns joined."""
    classes = Schema.from_pairs({"kind": CLASSES}, name="gz2_classes")
    experts = {**{_question(a): ("yes", "no") for a in ATTRIBUTES}, STAGE: STAGES}
    attributes = Schema.from_pairs(experts, name="efigi")
    return schemas.join([schemas.get("gz2_full"), classes, attributes], name="zoobot_mini")


def prepare(data: Path, folder: Path) -> Path:
    """Write the frames and the catalog into `folder`, unless they are there; returns the catalog.

    `split` is the sets' own, but "aside" for val galaxies of sets that were chosen for what volunteers said.

    Args:
        data: Folder of the labelled surveys: see benchmarks/README.md.
        folder: Where frames and catalog.csv go.
    """
    catalog = folder / "catalog.csv"
    if catalog.exists():
        return catalog
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    tables = [_votes(data, name) for name in VOTES] + [_classes(data), _attributes(data)]
    table = pd.concat(tables, ignore_index=True)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(_make_frame, table["source"], (images / f"{name}.jpg" for name in table["id_str"])))
    table["file_loc"] = [f"images/{name}.jpg" for name in table["id_str"]]
    is_biased = (table["split"] == "val") & ~table["set"].isin(UNBIASED)
    table["split"] = table["split"].mask(is_biased, "aside")
    columns = ["id_str", "file_loc", "set", "split", *mini_schema().label_cols]
    table.reindex(columns=columns).to_csv(catalog, index=False)
    return catalog


def _votes(data: Path, name: str) -> pd.DataFrame:
    table = _read(data / name / VOTES[name], name)
    return table.reindex(columns=[*_FACTS, *schemas.get("gz2_full").label_cols])


def _classes(data: Path) -> pd.DataFrame:
    table = _read(data / "gz2_classes" / "catalog.csv", "gz2_classes")
    fine = data / "gz2_classes_fine"
    if fine.is_dir():  # the same galaxies, most of them, in finer pixels
        places = _read(fine / "catalog.csv", "gz2_classes").set_index("id_str")["source"]
        table["source"] = table["id_str"].map(places).fillna(table["source"])
    votes = {f"kind_{c}": CLASS_VOTES * (table["label_name"] == c).astype(int) for c in CLASSES}
    return pd.concat([table[_FACTS], pd.DataFrame(votes)], axis=1)


def _attributes(data: Path) -> pd.DataFrame:
    table = _read(data / "efigi" / "catalog.csv", "efigi")
    votes = {}
    for attribute in ATTRIBUTES:
        strength = table[attribute].where(table[attribute] >= 0)  # -1 is undetermined
        votes[f"{_question(attribute)}_yes"] = ATTRIBUTE_VOTES * strength
        votes[f"{_question(attribute)}_no"] = ATTRIBUTE_VOTES * (1 - strength)
    for stage, name in enumerate(STAGES, FIRST_STAGE):
        votes[f"{STAGE}_{name}"] = STAGE_VOTES * (table["T"] == stage).astype(int)
    return pd.concat([table[_FACTS], pd.DataFrame(votes)], axis=1)


_FACTS = ["id_str", "set", "split", "source"]


def _read(path: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"id_str": str})
    table = table.copy()
    table["set"] = name
    table["source"] = [str(path.parent / file) for file in table["file_loc"]]
    table["id_str"] = [f"{name}-{galaxy}" for galaxy in table["id_str"]]
    return table


def _question(attribute: str) -> str:
    return f"{attribute.lower().replace('_', '-')}-efigi"


def _make_frame(source: str, target: Path) -> None:
    """One frame, from an image of the whole field (212 px and more) or of its centre alone."""
    image = cv2.imread(source, cv2.IMREAD_COLOR)
    if image is None:
        msg = f"{source} can't be read"
        raise OSError(msg)
    side = image.shape[0]
    is_whole = side in (FIELD_SIZE_PIX, FIELD_SIZE_PIX // 2)
    wanted = FIELD_SIZE_PIX if is_whole else max(side, SEEN_SIZE_PIX)
    if side != wanted:
        image = cv2.resize(image, (wanted, wanted), interpolation=cv2.INTER_CUBIC)
    margin = (FIELD_SIZE_PIX - wanted) // 2
    image = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
    edge = (FIELD_SIZE_PIX - FRAME_SIZE_PIX) // 2
    image = image[edge : edge + FRAME_SIZE_PIX, edge : edge + FRAME_SIZE_PIX]
    cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
