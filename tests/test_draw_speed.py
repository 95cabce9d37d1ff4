"""The speed picture and table say what the records say, and what they do not say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture
def draw(tmp_path):
    """Draw made-up records; gives the table's rows by work, and the picture."""

    def run(**records):
        for name, (benchmark, settings, results) in records.items():
            record = {"benchmark": benchmark, "settings": settings, "results": results}
            (tmp_path / f"{name}.json").write_text(json.dumps(record))
        (tmp_path / "list.json").write_text("[1, 2]")  # no record of ours
        done = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "draw_speed.py", "--results", tmp_path],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
        return {row[0]: row[1:] for row in rows[2:]}, tmp_path / "speed.png"

    return run


def median(value):
    return {"cpu_ms": {"median": value}, "wall_ms": {"median": value}}


def test_nothing_measured_is_said_for_every_row(draw):
    rows, picture = draw()
    assert len(rows) == 13
    assert all(row[0] == "not measured" for row in rows.values())
    with Image.open(picture) as image:
        assert image.size[0] > 800


def test_bars_reached_and_missed(draw):
    step = {"encoder": "convnext_nano", **median(50)}
    loss = [
        {
            "batch_size": 64,
            "times": {"ours": median(2)},
            "times_faster": {"cpu_ms": 21},
            "encoder_step": step,
        },
        {"batch_size": 512, "times": {"ours": median(2)}, "times_faster": {"cpu_ms": 11.9}},
    ]
    memory = {"zoobot predict": {"before": 900, "1000": 1000, "10000": 1049}}
    rows, _ = draw(
        loss=("loss", {}, loss), predict=("predict", {"encoder": "x", "image_size": 64}, {"memory": memory})
    )
    assert rows["vote loss, GZ Evo, batches of 64"][:2] == ["21×", "≥ 20×"]
    assert rows["vote loss, GZ Evo, batches of 512"][:2] == ["11.9× (short of it)", "≥ 12×"]
    assert rows["vote loss, as part of a ConvNeXt-nano step"][:2] == ["4.0 % (short of it)", "≤ 2 %"]
    assert rows["memory to predict 10,000 galaxies, above 1,000"][:2] == ["4.9 %", "≤ 5 %"]
    assert rows["predict, convnext_nano, 224 px"][0] == "not measured"


def test_the_table_is_of_the_default_engine(draw):
    loss = [{"batch_size": 64, "times": {"ours": median(2)}, "times_faster": {"cpu_ms": 21}}]
    rows, _ = draw(loss=("loss", {"backend": "tensorflow"}, loss))
    assert rows["vote loss, GZ Evo, batches of 64"][0] == "not measured"


def test_the_readme_shows_what_the_records_say(tmp_path):
    page = tmp_path / "README.md"
    page.write_text((ROOT / "README.md").read_text())
    command = [sys.executable, ROOT / "benchmarks" / "draw_speed.py", "--plot", tmp_path / "speed.png"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--readme", page], env=environment, check=True)
    told = "python benchmarks/draw_speed.py --readme README.md"
    assert page.read_text() == (ROOT / "README.md").read_text(), f"figures changed: run `{told}`"
    assert told in page.read_text()


def test_the_wanted_record_and_its_limit_are_taken(draw):
    def loader(ours):
        speeds = {
            "training, 2 workers": ours,
            "limit: read and decode, 2 threads": 2000,
            "public zoobot, training": 100,
        }
        return {"rows": {name: {"images_per_second": speed} for name, speed in speeds.items()}}

    rows, _ = draw(
        loader=("loader", {"synthetic": True}, loader(1600)),
        loader_real=("loader", {"synthetic": False}, loader(1000)),
    )
    assert rows["424 px JPEGs to augmented 224 px batches"][0] == "10.0×"
    assert rows["424 px JPEGs to augmented 224 px batches"][3] == "decoding alone: 50 %"
    assert rows["424 px JPEGs to augmented 224 px batches, beside decoding alone"][0] == "50 % (short of it)"
    assert rows["the same from the cache of pixels"][0] == "not measured"


def test_finetuning_is_compared_with_the_best_of_the_peer_over_as_many_epochs(draw):
    def run(seconds, epochs=20):
        return [{"wall_s": seconds, "epochs": epochs}]

    settings = {"encoder": "convnext_nano", "image_size": 224, "train": 500, "epochs": 20}
    runs = {
        "zoobot, head, encoded once": run(10),
        "public zoobot, head, learning rate 0.1": run(300),
        "public zoobot, head, learning rate 0.2": run(20, epochs=2),
        "zoobot, top block and head, activations kept": run(30),
        "zoobot, top block and head, encoded in every epoch": run(90),
    }
    other = {**settings, "encoder": "convnext_atto"}
    rows, _ = draw(
        a=("finetune", other, {"runs": {**runs, "zoobot, head, encoded once": run(1)}}),
        b=("finetune", settings, {"runs": runs, "limits": {"zoobot, head, encoded once": {"wall_s": 8}}}),
    )
    assert rows["finetune the head, 500 galaxies, 20 epochs, convnext_nano, 224 px"][0] == "20×"
    assert rows["finetune the head, 500 galaxies, 20 epochs, convnext_nano, 224 px"][3].endswith("once: 80 %")
    assert rows["finetune the last stage, beside encoding anew, convnext_nano, 224 px"][0] == "3.0×"
