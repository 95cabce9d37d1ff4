"""Names of members and ids are only names: whatever they are, nothing is written outside of the output."""

from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from zoobot.shared.catalog import read_catalog
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.predicting.members import Member
from zoobot.shared.predicting.run import predict_catalog
from zoobot.shared.predictions import read_predictions
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import RegressionTask

RECORD = Preprocessing(image_size_pix=8)
NAMES = [
    "../../evil.png",
    "/tmp/../evil-absolute.png",
    "a/../../b/evil.png",
    r"..\..\evil.png",
    "~/evil.png",
    "-rf.png",
]


def picture(value):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(params=["tar", "zip"])
def archive(request, tmp_path):
    """An archive of six images with the values 10, 20, … and hostile names, and of one that is broken."""
    home = tmp_path / "deep" / "inside"
    home.mkdir(parents=True)
    members = {name: picture(10 * i) for i, name in enumerate(NAMES, start=1)} | {"../broken.png": b"text"}
    path = home / f"a.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


class Brightness:
    task = RegressionTask(label_cols=("brightness",))
    preprocessing = RECORD

    def member(self):
        def start(images, remaining):
            return lambda: np.asarray(images, np.float32).mean(axis=(1, 2, 3))[None, :, None]

        return Member(self, start, "test", lambda: "0")


@pytest.mark.parametrize("output", ["p.csv", "p.parquet", "p.hdf5", "p.fits", "parts"])
def test_predictions_stay_in_their_place(archive, output, tmp_path, monkeypatch):
    home = archive.parent
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    (home / "out").mkdir()
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    predict_catalog(
        str(archive),
        [Brightness().member()],
        save_loc=home / "out" / output,
        n_samples=1,
        root=None,
        id_col="id_str",
        file_col="file_loc",
        batch_size=3,
        num_workers=1,
        progress=False,
        part_rows=None,
        shard=None,
        max_failures=None,
        decisive={},
    )
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before
    table = read_predictions(home / "out" / output)
    assert len(table) == len(NAMES)
    np.testing.assert_allclose(table["brightness_predicted"], [10, 20, 30, 40, 50, 60], atol=1e-3)
    assert table["id_str"].tolist() == [name.removesuffix(".png") for name in NAMES]


def test_cached_pixels_stay_in_their_place(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(archive.parent)
    before = set(tmp_path.rglob("*"))
    catalog = read_catalog(archive)
    loader = GalaxyLoader(
        catalog, RECORD, batch_size=3, cache_dir=archive.parent / "cache", max_failed_fraction=1
    )
    assert sum(len(batch.ids) for batch in loader) == len(NAMES)
    new = set(tmp_path.rglob("*")) - before
    assert new
    assert all(path.is_relative_to(archive.parent / "cache") for path in new)
