"""Pictures and numbers of what made a model say so, once for every engine."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import workflow
from zoobot.cli import main
from zoobot.options import ExplainOptions
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.whole import file_stems

COMMON = {"batch_size": 8, "num_workers": 1, "progress": False, "steps": 4}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def checkpoint(checkpoints, engine, engine_name, set_linear):
    """A small tree model of the engine, whose head has weights."""
    folder = checkpoints / engine_name
    if not folder.exists():
        model = engine.finetune.FinetuneableZoobotTree(
            schema="gz_decals_dr5", name="resnet10t", preprocessing={"image_size_pix": 64}
        )
        shape = (model.task.num_outputs, model.encoder.num_features)
        weight = np.random.default_rng(0).normal(0, 0.2, shape).astype("float32")
        set_linear(model.head.linear, weight, np.zeros(len(weight), "float32"))
        engine.checkpoint.save(model, folder)
    return folder


@pytest.fixture
def explain(checkpoint, tiny_survey, engine_name, tmp_path):
    def run(name="why", **changes):
        options = {
            "catalog": (tiny_survey,),
            "checkpoint": checkpoint,
            "save_dir": tmp_path / name,
            "backend": engine_name,
            "n": 2,
        }
        return workflow.explain(ExplainOptions(**COMMON | options | changes))

    return run


def test_every_galaxy_gets_a_picture_and_numbers(explain, tiny_survey):
    result = explain(answer="bar-dr5_no")
    table = pd.read_csv(result.save_dir / "explanations.csv", dtype={"id_str": str})
    assert table["id_str"].tolist() == pd.read_csv(tiny_survey, dtype={"id_str": str})["id_str"].tolist()[:2]
    assert set(table["answer"]) == {"bar-dr5_no"}
    for row in table.itertuples():
        numbers = np.load(result.save_dir / row.numbers)
        assert numbers["integrated_gradients"].shape == (32, 32, 3)
        assert numbers["grad_cam"].shape == (32, 32)
        assert str(numbers["answer"]) == row.answer
        total = numbers["integrated_gradients"].sum()
        assert total == pytest.approx(row.value - row.baseline_value + row.error, abs=1e-4)
        pixels = np.asarray(Image.open(result.save_dir / row.picture).convert("RGB")).astype(int)
        assert (pixels.sum(axis=2) < 700).mean() > 0.5
        assert (np.ptp(pixels, axis=2) > 60).mean() > 0.01  # colours over the grey image
    record = json.loads((result.save_dir / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["explained"] == 2


def test_images_by_name_a_question_and_one_method(explain, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey)
    images = [str(tiny_survey.parent / file) for file in table["file_loc"][:2]]
    (tmp_path / "J0004+02.0.broken.png").write_bytes(b"no image")
    result = explain(
        catalog=(*images, str(tmp_path / "J0004+02.0.broken.png")),
        answer="bar-dr5",
        method=("grad-cam",),
        n=None,
    )
    assert len(result.table) == 2
    assert result.table["answer"].str.startswith("bar-dr5_").all()
    assert result.table["error"].isna().all()
    assert result.failures["id_str"].tolist() == ["J0004+02.0.broken"]
    assert (result.save_dir / "failures.csv").is_file()
    numbers = np.load(result.save_dir / result.table["numbers"][0])
    assert "integrated_gradients" not in numbers.files


def test_what_can_not_work_is_said_before_anything_is_written(explain, tiny_survey, tmp_path):
    with pytest.raises(ConfigError, match="did you mean bar-dr5"):
        explain(answer="bar")
    with pytest.raises(ConfigError, match="one catalog, or images"):
        explain(catalog=(tiny_survey, str(tiny_survey.parent / "a.png")))
    with pytest.raises(CatalogError, match=r"nothing\.png"):
        explain(catalog=(str(tmp_path / "nothing.png"),))
    with pytest.raises(ConfigError, match="no gradients"):
        explain(checkpoint="model.onnx")
    assert not (tmp_path / "why").exists()
    explain(n=1, method=("grad-cam",))
    with pytest.raises(ConfigError, match="finished run"):
        explain(n=1)
    kept = explain(n=1, method=("grad-cam",), answer="bar-dr5_no", overwrite=True)
    assert kept.table["answer"].tolist() == ["bar-dr5_no"]


def test_the_command_line_explains(checkpoint, engine_name, tiny_survey, tmp_path, capsys):
    words = ["explain", str(checkpoint), "--catalog", str(tiny_survey), "--n", "1", "--method", "grad-cam"]
    words += ["--backend", engine_name]
    assert main([*words, "--save-dir", str(tmp_path / "why"), "--no-progress"]) == 0
    said = capsys.readouterr().out
    assert "1 galaxies explained" in said
    assert "1 × smooth-or-featured-dr5_" in said


def test_files_stay_in_their_folder_whatever_galaxies_are_called():
    ids = ["../../evil", "/etc/passwd", "a\\b", "con.", "~", "..", "", "J1+2", "j1+2", "x" * 300]
    stems = file_stems(ids)
    assert len({stem.lower() for stem in stems}) == len(ids)
    assert all(stem and not set(stem) & set("/\\~") and stem not in (".", "..") for stem in stems)
    assert max(map(len, stems)) < 120
    assert stems[7] == "J1+2"
