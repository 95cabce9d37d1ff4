"""The guided training of whole models, on two tiny simulated campaigns, once for every engine."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from zoobot import workflow
from zoobot.options import FinetuneOptions, TrainOptions
from zoobot.shared import schemas
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.predictions import read_predictions
from zoobot.simulate import simulate_survey
from zoobot.workflow.building import read_labelled

TINY = {
    "encoder": "test_resnet",
    "image_size_pix": 32,
    "max_epochs": 2,
    "batch_size": 16,
    "num_workers": 1,
    "accelerator": "cpu",
    "progress": False,
}
CAMPAIGNS = ("gz_rings", "gz2")
pytestmark = pytest.mark.usefixtures("all_undrawn")


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    """The catalogs of two surveys whose volunteers followed different trees."""
    folder = tmp_path_factory.mktemp("campaigns")
    paths = []
    for seed, name in enumerate(CAMPAIGNS):
        path = simulate_survey(folder / name, n_galaxies=24, image_size_pix=32, seed=seed, schema=name)
        table = pd.read_csv(path, dtype={"id_str": str})
        table["id_str"] = f"{name}-" + table["id_str"]
        table.to_csv(path, index=False)
        paths.append(str(path))
    return tuple(paths)


@pytest.fixture
def train(surveys, engine_name, tmp_path):
    def run(**changes):
        options = {
            "catalog": surveys,
            "schema": CAMPAIGNS,
            "save_dir": tmp_path / "run",
            "backend": engine_name,
        }
        return workflow.train(TrainOptions(**TINY | options | changes))

    return run


def test_one_model_learns_both_campaigns_and_is_a_start_for_finetuning(
    train, surveys, engine, engine_name, tmp_path
):
    result = train()
    joined = schemas.join([schemas.get(name) for name in CAMPAIGNS])
    log = pd.read_csv(result.save_dir / "metrics.csv")
    assert result.epochs == len(log) == 2
    for campaign in CAMPAIGNS:
        columns = [f"train_nll_campaign_{campaign}", f"val_nll_campaign_{campaign}"]
        assert np.isfinite(log[columns].to_numpy()).all()
    columns = [f"{name}_concentration" for name in joined.label_cols]
    assert list(read_predictions(result.save_dir / "predictions.parquet").columns) == ["id_str", *columns]
    assert engine.checkpoint.load(result.checkpoint).task.schema == joined
    record = json.loads((result.save_dir / "run.json").read_text())
    assert (record["work"], record["status"]) == ("train", "finished")
    finetuned = workflow.finetune(
        FinetuneOptions(
            catalog=surveys[0],
            labels="ring",
            save_dir=tmp_path / "rings",
            backend=engine_name,
            **TINY | {"encoder": str(result.save_dir), "max_epochs": 1},
        )
    )
    assert finetuned.epochs == 1


def test_a_run_is_resumed_by_the_command_that_began_it(train, tmp_path, monkeypatch):
    module = importlib.import_module("zoobot.workflow.finetune")

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_report", killed)
        with pytest.raises(KeyboardInterrupt):
            train(max_epochs=1)
    given = {"save_dir": str(tmp_path / "run")}
    with pytest.raises(ConfigError, match="resume it with that command"):
        workflow.resumed_options("finetune", given)
    result = workflow.train(workflow.resumed_options("train", given))
    assert result.epochs == 1


def test_a_batch_that_devices_cannot_share_is_refused_before_a_folder_is_made(train, tmp_path, monkeypatch):
    module = importlib.import_module("zoobot.workflow.finetune")

    monkeypatch.setattr(module, "build_trainer", lambda *a: type("T", (), {"world_size": 3})())
    with pytest.raises(ConfigError, match="shared out evenly among 3 devices, got 16"):
        train()
    assert not (tmp_path / "run").exists()


def test_a_further_process_trains_and_leaves_folder_and_scores_to_the_first(train, tmp_path, monkeypatch):
    module = importlib.import_module("zoobot.workflow.finetune")

    fitted = []
    monkeypatch.setattr(module, "is_first_process", lambda: False)
    trainer = type("T", (), {"world_size": 1, "fit": lambda *a, **k: fitted.append(k)})()
    monkeypatch.setattr(module, "build_trainer", lambda *a: trainer)
    assert train() is None
    assert fitted == [{"ckpt_path": None}]
    assert not (tmp_path / "run" / "run.json").exists()


def test_only_some_galaxies_of_the_catalogs_are_learned_from(surveys, tmp_path):
    options = TrainOptions(**TINY, catalog=surveys, schema=CAMPAIGNS, save_dir=tmp_path / "run")
    first = pd.read_csv(surveys[0], dtype={"id_str": str})["id_str"][0]
    assert len(read_labelled(options).catalogs["train"]) == 48
    selected = read_labelled(replace(options, select=f"id_str={first}"))
    assert selected.catalogs["train"].ids == [first]
    with pytest.raises(CatalogError, match="no galaxy has it"):
        read_labelled(replace(options, select="id_str=nobody"))
