"""Records that an accident damaged: each is an error of ours, which names the file, or is read right."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pandas as pd
import pytest

from zoobot.options import FinetuneOptions, PredictOptions
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import BusyError, CatalogError, ConfigError, ImageError, PredictionsError
from zoobot.shared.features.tables import read_features
from zoobot.shared.files.locks import Lock
from zoobot.shared.loader import Failure
from zoobot.shared.pixels.stretch import stretch_linear, stretch_lupton
from zoobot.shared.predicting.part_run import merge_parts
from zoobot.shared.predictions import Parts, read_prediction_chunks, read_predictions
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables import part_folder as part_files
from zoobot.shared.tables.part_folder import MANIFEST_FILE, PartFolder, Shard
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.training.epochs import EpochLog
from zoobot.workflow.loop import read_known
from zoobot.workflow.predict import predict_into_folder
from zoobot.workflow.run_folder import RECORD_FILE, read_record, resumed_options
from zoobot.workflow.status import describe_parts


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"epoch,val_loss\n0,half\n", b"val_loss\n0.5\n", b'a"b\n"']
)
def test_a_damaged_log_of_epochs_is_named(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"metrics\.csv is no log of epochs"):
        EpochLog(tmp_path / "metrics.csv").append({"epoch": 1, "val_loss": 0.1})


@pytest.mark.parametrize(
    "change",
    [
        {"resumed": None},
        {"resumed": 3},
        {"options": None},
        {"options": "x"},
        {"data": 5},
        {"data": {"train": 5}},
    ],
)
def test_a_record_of_a_run_that_is_damaged_is_refused(tmp_path, change):
    record = {"work": "finetune", "status": "interrupted", "options": {}, **change}
    (tmp_path / RECORD_FILE).write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="is no record of a Zoobot run"):
        read_record(tmp_path)


@pytest.mark.parametrize("paths", [7, {"catalog": 7}, {"catalog": ["a.csv"]}, {"catalog": None}, []])
def test_places_that_are_none_are_not_taken_up(tmp_path, paths):
    options = {"catalog": "rings.csv", "labels": ["ring"], "save_dir": str(tmp_path)}
    record = {"work": "finetune", "status": "interrupted", "options": options, "paths": paths}
    (tmp_path / RECORD_FILE).write_text(json.dumps(record))
    assert resumed_options("finetune", {"save_dir": str(tmp_path)}).catalog == "rings.csv"


@pytest.mark.parametrize(
    "change",
    [
        {"options": None},
        {"options": {"part_rows": 0}},
        {"options": {"part_rows": 2, "n_samples": "x"}},
        {"catalog": {"name": "c.csv", "galaxies": "x"}},
        {"catalog": {"name": "c.csv", "galaxies": 0}},
        {"catalog": {"galaxies": 4}},
        {"task": None},
        {"models": 5},
        {"versions": []},
    ],
)
def test_a_manifest_that_can_not_be_counted_by_is_refused(tmp_path, change):
    content = {"format": 1, "models": [], "task": {}, "preprocessing": [], "versions": {}}
    content |= {"options": {"part_rows": 2}, "catalog": {"name": "c.csv", "galaxies": 4}}
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(content))
    assert Parts(tmp_path).missing == [0, 1]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(content | change))
    with pytest.raises(PredictionsError, match="can't be read"):
        Parts(tmp_path)


@pytest.fixture
def parts(tmp_path):
    """A folder of three parts of two galaxies each, of which one failed."""
    folder = PartFolder(tmp_path / "parts")
    folder.path.mkdir()
    content = {
        "format": 1,
        "models": ["a"],
        "task": {"kind": "regression"},
        "preprocessing": [],
        "versions": {},
    }
    content |= {"options": {"part_rows": 2}, "catalog": {"name": "c.csv", "galaxies": 6}}
    folder.manifest.write_text(json.dumps(content))
    folder.write_failures(1, [Failure("2", "2.jpg", "absent")])
    for number, ids in enumerate((["0", "1"], ["3"], ["4", "5"])):
        with PredictionWriter(folder.part(number), ["ring", "bar"]) as writer:
            writer.write(ids, np.ones((len(ids), 2)))
    return folder


def read_in_every_way(folder, tmp_path):
    """Read a folder of parts by all that reads them; what each raises."""
    for read in (
        lambda: read_predictions(folder.path),
        lambda: list(read_prediction_chunks(folder.path)),
        lambda: read_features(folder.path),
        lambda: merge_parts(folder.path, tmp_path / "all.csv"),
        lambda: merge_parts(folder.path, tmp_path / "all.parquet", partial=True),
    ):
        with pytest.raises(PredictionsError) as caught:
            read()
        assert not list(tmp_path.glob("*all*"))
        yield str(caught.value)


@pytest.mark.parametrize(
    "name", ["part-000000.parquet", "part-000001.parquet", "_failures/part-000001.parquet"]
)
@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: b"hello", lambda whole: whole[: len(whole) // 2]]
)
def test_a_damaged_part_is_named_with_what_to_do(parts, tmp_path, name, damage):
    path = parts.path / name
    path.write_bytes(damage(path.read_bytes()))
    for words in read_in_every_way(parts, tmp_path):
        assert f"{name}' is damaged" in words
        assert "delete it" in words


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="bar"),
        lambda table: table[["id_str", "bar", "ring"]],
        lambda table: table.astype(str),
        lambda table: table.rename(columns={"id_str": "id"}),
        lambda table: table.head(1),
        lambda table: pd.concat([table, table]),
    ],
)
def test_a_part_unlike_the_others_or_with_other_rows_is_named(parts, tmp_path, change):
    change(pd.read_parquet(parts.part(2))).to_parquet(parts.part(2), index=False)
    for words in read_in_every_way(parts, tmp_path):
        assert "part-000002.parquet' is damaged" in words


def test_a_part_beyond_the_last_is_no_part_of_the_predictions(parts, tmp_path):
    parts.part(3).write_bytes(parts.part(2).read_bytes())
    for words in read_in_every_way(parts, tmp_path):
        assert "part-000003.parquet is none of the 3 parts" in words
    with pytest.raises(PredictionsError, match="is none of the 3 parts"):
        describe_parts(parts.path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b'{"options":{}}']
    + [
        json.dumps({"work": "predict", "status": "running", "options": options}).encode()
        for options in (None, {"shard": "x"}, {"shard": 3}, {"shard": "1/99999999999"})
    ],
)
def test_status_says_what_is_missing_though_the_record_is_damaged(parts, content):
    parts.part(2).unlink()
    parts.runs.mkdir()
    (parts.runs / "run.json").write_bytes(content)
    assert "parts     2 of 3" in describe_parts(parts.path)


def test_another_number_of_shards_at_the_same_time_is_refused(parts, monkeypatch):
    monkeypatch.setattr(part_files, "_PAUSE_S", 0.0)
    for running, alike, other in (
        ((1, 2), (2, 2), (1, 3)),
        ((1, 2), (2, 2), (1, 1)),
        ((1, 2), (2, 2), (1, 12)),
        ((1, 12), (2, 12), (1, 2)),
        ((1, 1), None, (1, 3)),
    ):
        lock = Lock(parts.lock(Shard(*running)))
        if alike is not None:
            with parts.at_work(Shard(*alike)):
                pass
        with (
            pytest.raises(BusyError, match=r"in another number of shards: process \d+ on"),
            parts.at_work(Shard(*other)),
        ):
            pass
        lock.release()
        with parts.at_work(Shard(*other)):
            pass
    assert not list(parts.path.glob(".*"))


def test_locks_that_the_dead_have_left_stop_no_other_number_of_shards(parts):
    parts.lock(Shard(1, 2)).write_text("")
    with parts.at_work(Shard(1, 3)):
        assert not parts.lock(Shard(1, 2)).exists()


def test_status_shows_the_last_run_though_the_clock_was_set_back(parts):
    parts.part(2).unlink()
    catalog = parts.path.parent / "c.csv"
    catalog.write_text("id_str,file_loc\n1,1.jpg\n")
    ahead = time.time() + 1e7
    called = "zoobot.predict(checkpoint='c', shard='{}', progress=False)"
    for shard in ("2/7", "1/3"):  # a run ends, the clock is set back, another begins
        with pytest.raises(ImageError):
            predict_into_folder(
                PredictOptions(checkpoint="c", catalog=str(catalog), save_loc=str(parts.path), shard=shard),
                [],
                raise_image_error,
                command=f"zoobot predict --shard {shard}" if shard == "2/7" else called.format(shard),
            )
        if shard == "2/7":
            for path in [*parts.path.rglob("*.json"), *parts.path.rglob("*.parquet")]:
                os.utime(path, (ahead, ahead))
    text = describe_parts(parts.path)
    assert "shard 3/3 misses 1 parts" in text
    assert called.format("3/3") in text
    assert "/7" not in text


def raise_image_error(*_, **__):
    msg = "no image"
    raise ImageError(msg)


def test_status_of_more_shards_than_there_are_parts_ends(parts):
    parts.part(2).unlink()
    assert "shard 3/99999999999 misses 1 parts" in describe_parts(parts.path, shards=99999999999)


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


@pytest.mark.parametrize(
    ("ids", "features", "words"),
    [
        (["a", "z"], np.ones((2, 3), np.float32), "no features of these"),
        (["a"], np.ones((2, 3), np.float32), "no features of these"),
        (["a", "b"], np.ones((2, 3)), "no features of these"),
        (np.array(["a", "b"], object), np.ones((2, 3), np.float32), "allow_pickle=False"),
        (["a", "b"], None, "features"),
    ],
)
def test_kept_features_of_a_loop_that_are_no_longer_its_own(tmp_path, ids, features, words):
    place = tmp_path / "features.npz"
    arrays = {"ids": np.array(ids)} | ({} if features is None else {"features": features})
    np.savez(place, **arrays)
    with pytest.raises(ConfigError, match=rf"features\.npz .*{words}.*overwrite"):
        read_known(place, ["a", "b", "c"])


def test_kept_features_of_a_loop_that_are_damaged(tmp_path):
    place = tmp_path / "features.npz"
    good = {"ids": np.array(["a", "b"]), "features": np.ones((2, 3), np.float32)}
    np.savez_compressed(place, **good)
    with pytest.raises(ConfigError, match="no features of these"):
        read_known(place, ["a", "b"])
    np.savez(place, **good)
    assert read_known(place, ["b", "a"])[0] == ["a", "b"]
    whole = place.read_bytes()
    for content in (
        b"",
        b"odd",
        whole[:-60],
        whole.replace(b"(2, 3)", b"(9, 9)"),
        whole.replace(b"<f4", b"<zz"),
    ):
        place.write_bytes(content)
        with pytest.raises(ConfigError, match=r"features\.npz is damaged"):
            read_known(place, ["a", "b"])
