"""Records that an accident damaged: each is an error of ours, which names the file, or is read right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.config import FinetuneOptions, PredictOptions
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError
from zoobot.shared.parts.files import MANIFEST_FILE
from zoobot.shared.parts.reading import Parts
from zoobot.shared.pixels.stretch import stretch_linear, stretch_lupton
from zoobot.shared.predicting.writer import PredictionWriter
from zoobot.shared.predictions import read_predictions
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.training.log import EpochLog
from zoobot.workflow.run_folder import RECORD_FILE, read_record


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"epoch,val_loss\n0,half\n", b"val_loss\n0.5\n", b'a"b\n"']
)
def test_a_damaged_log_of_epochs_is_named(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"metrics\.csv is no log of epochs"):
        EpochLog(tmp_path / "metrics.csv").append({"epoch": 1, "val_loss": 0.1})


@pytest.mark.parametrize("resumed", [None, 3])
def test_a_record_whose_history_is_damaged_is_refused(tmp_path, resumed):
    record = {"work": "finetune", "status": "interrupted", "options": {}, "resumed": resumed}
    (tmp_path / RECORD_FILE).write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="is no record of a Zoobot run"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "change", [{"options": None}, {"options": {"part_rows": 0}}, {"catalog": {"galaxies": "x"}}]
)
def test_a_manifest_that_can_not_be_counted_by_is_refused(tmp_path, change):
    content = {"format": 1, "models": [], "task": {}, "preprocessing": [], "versions": {}}
    content |= {"options": {"part_rows": 2}, "catalog": {"galaxies": 4}}
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(content))
    assert Parts(tmp_path).missing == [0, 1]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(content | change))
    with pytest.raises(PredictionsError, match="can't be read"):
        Parts(tmp_path)


@pytest.mark.parametrize(("suffix", "galaxy"), [(".hdf5", "a\0b"), (".csv", "a\rb")])
def test_a_format_refuses_an_id_that_it_can_not_hold(tmp_path, suffix, galaxy):
    with (
        pytest.raises(PredictionsError, match="can't hold the text"),
        PredictionWriter(tmp_path / f"p{suffix}", ["ring"]) as writer,
    ):
        writer.write([galaxy], np.ones((1, 1)))


@pytest.mark.parametrize("suffix", [".hdf5", ".fits", ".parquet"])
def test_the_head_of_a_table_is_no_table(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    with PredictionWriter(path, ["ring"]) as writer:
        writer.write(["a", "b"], np.ones((2, 1)))
    whole = path.read_bytes()
    for length in range(1, len(whole) - 2880, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(PredictionsError):
            read_predictions(path)


def test_a_fits_catalog_with_a_damaged_header_is_refused(tmp_path):
    table = pytest.importorskip("astropy.table").Table({"id_str": ["a"], "file_loc": ["a.jpg"]})
    table.write(tmp_path / "t.fits")
    content = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(content.replace(b"NAXIS1", b"NAXYS1"))
    with pytest.raises(CatalogError, match="can't read the table"):
        list(CatalogStream(tmp_path / "t.fits").parts(1))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 10**400])
def test_options_are_finite(rate):
    with pytest.raises(ConfigError, match="learning_rate must be"):
        FinetuneOptions(catalog="c.csv", save_dir="run", labels=["ring"], learning_rate=rate)


def test_an_option_whose_name_is_no_text_is_unknown():
    with pytest.raises(ConfigError, match="unknown option 5"):
        PredictOptions.from_config({5: 1})


def test_limits_one_step_apart_and_pixels_far_beyond_them_stay_in_range():
    assert stretch_linear(np.array([-1.0, 0.0, 5e-324, 1.0]), (0.0, 5e-324)).tolist() == [0, 0, 1, 1]
    picture = stretch_lupton(np.array([[[1e308, 1e308, 1e308]]]), (0.0, 1.0), 0.1)
    assert picture.tolist() == [[[1, 1, 1]]]


def test_a_softness_that_no_float_can_hold_is_refused():
    with pytest.raises(ConfigError, match="asinh_softness"):
        Preprocessing(asinh_softness=1e-320)
