"""The command line's predictions in parts: killed at any moment, shared among processes, told and merged."""

import functools
import json
import os
import random
import signal
import time

import cv2
import numpy as np
import pandas as pd
import pytest

from zoobot import cli
from zoobot.shared.files.locks import Lock
from zoobot.shared.predicting import part_run
from zoobot.shared.predictions import read_predictions
from zoobot.shared.tables.part_folder import PartFolder, Shard

N_GALAXIES, PART_ROWS = 230, 20


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A catalog of many galaxies over a few images, some of them broken, and awkward names."""
    folder = tmp_path_factory.mktemp("survey")
    rng = np.random.default_rng(0)
    (folder / "im ages é").mkdir()
    for i in range(7):
        cv2.imwrite(str(folder / "im ages é" / f"{i}.png"), rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))
    (folder / "broken.png").write_bytes(b"no image")
    places = [f"im ages é/{i % 7}.png" if i % 11 else "broken.png" for i in range(N_GALAXIES)]
    ids = [f"{587739505552785605 + i}" if i % 2 else f"007 星, {i}" for i in range(N_GALAXIES)]
    table = pd.DataFrame({"id_str": ids, "file_loc": places, "odd": np.arange(N_GALAXIES) % 2})
    table.to_csv(folder / "catalog.csv", index=False)
    return folder / "catalog.csv"


@pytest.fixture
def words(engine_name, tree_checkpoint, survey):
    """The words of a prediction, without --save-loc."""
    how = ["--backend", engine_name, "--no-progress", "--batch-size", 8, "--n-samples", 2]
    return ["predict", tree_checkpoint(engine_name), "--catalog", survey, "--part-rows", PART_ROWS, *how]


@pytest.fixture
def run(capsys):
    def run_words(*words):
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_words


@pytest.fixture
def start(start_zoobot, engine_name):
    return functools.partial(start_zoobot, engine_name)


def data_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}


def test_killed_at_random_moments_it_ends_with_the_same_bytes(words, run, start, tmp_path):
    assert run(*words, "--save-loc", tmp_path / "whole")[0] == 0
    whole = data_of(tmp_path / "whole")
    assert len(whole) == 12 + 12

    draw = random.Random(0)
    cut = tmp_path / "cut"
    kills = 0
    while kills < 3:
        process = start([*words, "--save-loc", cut])
        before = len(list(cut.glob("part-*"))) if cut.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if cut.exists() and len(list(cut.glob("part-*"))) > before + kills:
                time.sleep(draw.uniform(0, 0.03))
                break
            time.sleep(0.002)
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0
            break
        kills += 1
    assert kills
    assert run(*words, "--save-loc", cut)[0] == 0
    assert data_of(cut) == whole
    assert not [name for _, _, names in os.walk(cut) for name in names if name.startswith(".")]


def test_shards_work_at_the_same_time(words, run, start, tmp_path):
    run(*words, "--save-loc", tmp_path / "whole")
    folder = tmp_path / "shards"
    processes = [start([*words, "--save-loc", folder, "--shard", f"{i}/3"]) for i in (3, 1, 2)]
    for process in processes:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
    assert data_of(folder) == data_of(tmp_path / "whole")
    records = sorted(path.name for path in (folder / "_runs").iterdir())
    assert records == [f"shard-{i}-of-3.json" for i in (1, 2, 3)]


def test_another_number_of_shards_is_refused_while_one_runs_and_shares_the_work_later(words, run, tmp_path):
    run(*words, "--save-loc", tmp_path / "whole")
    folder = tmp_path / "shards"
    assert run(*words, "--save-loc", folder, "--shard", "1/2")[0] == 0
    at_work = Lock(PartFolder(folder).lock(Shard(1, 2)))
    for other in (["--shard", "1/3"], []):
        code, _, err = run(*words, "--save-loc", folder, *other)
        assert code == 2
        assert "another number of shards: process" in err
        assert "works on shard-1-of-2" in err
    assert [path.name for path in (folder / "_runs").iterdir()] == ["shard-1-of-2.json"]
    assert "shard 2/2 misses 6 parts" in run("status", folder)[1]
    at_work.release()
    for number in (2, 1, 3):
        assert run(*words, "--save-loc", folder, "--shard", f"{number}/3")[0] == 0
    assert data_of(folder) == data_of(tmp_path / "whole")


def test_status_says_how_far_it_is_and_what_to_type(words, run, survey, tmp_path):
    folder = tmp_path / "my parts"
    assert run(*words, "--save-loc", folder, "--shard", "2/3")[0] == 0
    code, out, _ = run("status", folder)
    assert code == 0
    assert "parts     4 of 12" in out
    assert "galaxies  80 of 230 (34.8%)" in out
    assert "7  not a JPEG, PNG, TIFF, WebP or FITS image" in out
    assert "shard 1/3 misses 4 parts" in out
    assert "shard 2/3" not in out
    assert "--shard 3/3" in out
    assert "shard 4/5 misses" in run("status", folder, "--shards", 5)[1]
    command = next(line for line in out.splitlines() if line.strip().startswith("zoobot predict"))
    assert f"--save-loc '{folder}'" in command

    code, _, err = run(*words, "--save-loc", folder, "--seed", 7)
    assert code == 2
    assert "options.seed: 42 there, 7 now" in err
    code, out, _ = run("status", folder)
    assert "--seed 7" not in out  # the refused run has left no trace

    code, out, _ = run(*words, "--save-loc", folder)
    assert code == 0
    assert "209 galaxies" in out
    assert "21 images could not be read" in out
    assert "Complete" in run("status", folder)[1]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".h5"])
def test_merging_gives_the_table_in_catalog_order(words, run, survey, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(part_run, "_ROWS_AT_ONCE", 33)
    folder, file = tmp_path / "parts", tmp_path / f"all{suffix}"
    run(*words, "--save-loc", folder, "--shard", "1/2")
    code, _, err = run("merge", folder, "--save-loc", file)
    assert code == 2
    assert "lacks 6 of 12 parts (1, 3, 5, 7, 9, 11)" in err
    code, out, _ = run("merge", folder, "--save-loc", file, "--partial")
    assert code == 0
    assert "6 parts are missing" in out
    run(*words, "--save-loc", folder)
    assert run("merge", folder, "--save-loc", file)[0] == 2
    code, out, _ = run("merge", "--folder", folder, "--save-loc", file, "--overwrite")
    assert code == 0
    assert "418 rows" in out
    merged = read_predictions(file)
    pd.testing.assert_frame_equal(merged, read_predictions(folder))
    order = pd.read_csv(survey, dtype=str)
    readable = order["id_str"][order["file_loc"] != "broken.png"].tolist()
    assert merged["id_str"][merged["sample"] == 0].tolist() == readable
    failures = pd.read_csv(tmp_path / "all.failures.csv", dtype=str)
    assert failures["id_str"].tolist() == order["id_str"][order["file_loc"] == "broken.png"].tolist()


def test_merging_to_fits(words, run, survey, tmp_path):
    pytest.importorskip("astropy")
    run(*words, "--save-loc", tmp_path / "odd", "--select", "odd=1")
    code, _, err = run("merge", tmp_path / "odd", "--save-loc", tmp_path / "all.fits")
    assert code == 0, err
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "all.fits"), read_predictions(tmp_path / "odd"))
    run(*words, "--save-loc", tmp_path / "every")
    code, _, err = run("merge", tmp_path / "every", "--save-loc", tmp_path / "every.fits")
    assert code == 2
    assert "a FITS table can't hold the id '007 星" in err
    assert not (tmp_path / "every.fits").exists()


def test_a_summary_is_made_of_all_parts(words, run, tmp_path):
    folder, summary = tmp_path / "parts", tmp_path / "summary.csv"
    code, _, err = run(*words, "--save-loc", folder, "--summary", summary, "--shard", "1/2")
    assert code == 2
    assert "give the same command without --shard" in err
    code, _, err = run(*words, "--save-loc", folder, "--summary", summary)
    assert code == 0, err
    assert (
        read_predictions(summary)["id_str"].tolist()
        == read_predictions(folder)["id_str"][read_predictions(folder)["sample"] == 0].tolist()
    )


def test_overwriting_and_other_refusals(words, run, tmp_path):
    folder = tmp_path / "parts"
    run(*words, "--save-loc", folder)
    (folder / "notes.txt").write_text("mine")
    code, _, err = run(*words, "--save-loc", folder, "--overwrite", "--shard", "1/2")
    assert code == 2
    assert "delete the folder yourself" in err
    assert run(*words, "--save-loc", folder, "--seed", 7)[0] == 2
    (folder / "notes.txt").unlink()
    assert run(*words, "--save-loc", folder, "--seed", 7, "--overwrite")[0] == 0
    assert json.loads((folder / "_manifest.json").read_text())["options"]["seed"] == 7
    code, _, err = run(*words, "--save-loc", tmp_path / "t.csv")
    assert code == 2
    assert "--part-rows is for a --save-loc that is a folder" in err
    code, _, err = run(*words, "--save-loc", folder, "--max-failures", "0.01", "--seed", 7)
    assert code == 2
    assert "21 of 230 images could not be read" in err
    code, _, err = run("status", tmp_path / "absent")
    assert code == 2
    assert "does not exist" in err


def test_a_full_disk_leaves_no_half_part(words, run, tmp_path, monkeypatch):
    from zoobot.shared.files import whole as whole_files

    calls = []

    def fill(path):
        calls.append(path)
        if len(calls) > 15:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files, "sync", fill)
    folder = tmp_path / "parts"
    code, _, err = run(*words, "--save-loc", folder)
    assert code == 2
    assert "No space left on device" in err
    assert "then give the same command again" in err
    monkeypatch.undo()
    done = sorted(p.name for p in folder.glob("part-*"))
    assert 0 < len(done) < 12
    assert not list(folder.rglob(".part*"))
    assert run(*words, "--save-loc", folder)[0] == 0
    assert len(list(folder.glob("part-*"))) == 12
