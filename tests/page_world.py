"""The files that the pages speak of, made of simulated galaxies, and small models that learned from them."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.simulate import simulate_survey

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = "finetune --encoder resnet10t --image-size-pix 64 --max-epochs 1 --save-dir"
#: How the models and tables were made that pages take as given.
GIVEN = (
    f"{TINY} results/rings --catalog rings.csv --labels ring",
    f"{TINY} results/t_type --catalog efigi.csv --task regression --labels T",
    f"{TINY} results/gz2 --catalog votes.csv --task tree --schema gz2",
    "predict results/gz2 --catalog survey.parquet --save-loc results/survey",
    "predict results/gz2 --catalog new.csv --save-loc results/new.parquet",
    "represent results/gz2 --catalog survey.parquet --save-loc results/features",
)


def make_world(folder: Path, zoobot: Callable[[str], None]) -> None:
    """Fill the current folder, which is `folder`."""
    votes = _survey(folder, "sdss", 24, schema="gz2", look="sdss")
    votes.to_csv("votes.csv", index=False)
    galaxies = _survey(folder, "decals", 30)
    rng = np.random.default_rng(0)
    split = np.resize(["train", "train", "val", "val", "test"], len(galaxies))
    labelled = galaxies.assign(split=split, kind=galaxies["label_name"], T=rng.normal(2, 3, len(galaxies)))
    labelled["ring"] = np.arange(len(galaxies)) % 2
    labelled["kind"] = np.where(labelled["ring"] == 1, "spiral", "smooth")
    for name in ("rings.csv", "kinds.csv", "efigi.csv", "labelled.csv"):
        labelled.to_csv(name, index=False)
    new = galaxies.nlargest(4, "bar_strength").assign(z=0.05, redshift=0.05, split="test")
    new["id_str"] = [f"J{number:04d}" for number in range(1, 5)]
    new.to_csv("new.csv", index=False)
    _write_fits(new[["id_str", "file_loc", "ra", "dec"]], "new.fits")
    survey = new.copy()
    survey.loc[survey.index[0], "id_str"] = "J100005.28+152828.6"
    survey.to_parquet("survey.parquet")
    images = [folder / place for place in galaxies["file_loc"]]
    _write_images(images)
    cubes = _survey(folder, "cubes", 24, image_format="fits")
    cubes.assign(ring=np.arange(24) % 2).to_csv("cubes.csv", index=False)
    for command in GIVEN:
        zoobot(command)
    for name, like in (("other", "rings"), ("kinds", "rings"), ("gz2_b", "gz2")):
        shutil.copytree(f"results/{like}", f"results/{name}")


def _survey(folder: Path, name: str, n_galaxies: int, **options: str) -> pd.DataFrame:
    catalog = simulate_survey(
        folder / name, n_galaxies=n_galaxies, image_size_pix=32, seed=len(name), **options
    )
    table = pd.read_csv(catalog, dtype={"id_str": str})
    return table.assign(file_loc=name + "/" + table["file_loc"])


def _write_images(images: list[Path]) -> None:
    """Single images, a folder of some, shards with labels, and a zip."""
    Path("my_images").mkdir()
    Path("shards").mkdir()
    for name, image in zip(
        ("my_images/ngc4565.jpg", "my_images/b.jpg", "a.jpg", "b.jpg", "my_merger.jpg"), images, strict=False
    ):
        Path(name).write_bytes(image.read_bytes())
    with tarfile.open("shards/0.tar", "w") as shard:
        for number, image in enumerate(images[:24]):
            for ending, content in ((".jpg", image.read_bytes()), (".cls", str(number % 2).encode())):
                member = tarfile.TarInfo(f"{image.stem}{ending}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile("survey.zip", "w") as archive:
        for image in images[:12]:
            archive.write(image, image.name)


def _write_fits(table: pd.DataFrame, path: str) -> None:
    from astropy.table import Table

    Table.from_pandas(table).write(path)
