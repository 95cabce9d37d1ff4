"""Scoring the equal mixtures that dropout samples and ensembles make, once for every engine."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from zoobot import workflow
from zoobot.shared.config import EvaluateOptions, PredictOptions
from zoobot.shared.errors import ConfigError
from zoobot.shared.prediction_samples import read_samples
from zoobot.shared.schemas import Schema

_spec = importlib.util.spec_from_file_location("galaxies", Path(__file__).parent / "engines" / "galaxies.py")
galaxies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(galaxies)

SCHEMA = Schema.from_pairs(
    {"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"}, name="tiny"
)
COMMON = {"batch_size": 8, "num_workers": 1, "progress": False}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return galaxies.write_galaxies(tmp_path_factory.mktemp("survey"), n_galaxies=20)


@pytest.fixture
def make_checkpoint(engine, set_linear, tmp_path):
    """The folder of a small model whose head has weights drawn from a seed."""

    def make(kind, seed):
        small = {"name": "resnet10t", "preprocessing": {"image_size_pix": 32}, "dropout_prob": 0.5}
        if kind == "tree":
            model = engine.finetune.FinetuneableZoobotTree(schema=SCHEMA, **small)
        else:
            model = engine.finetune.FinetuneableZoobotClassifier(
                class_names=["round", "edge-on"], label_cols=["edge_on"], **small
            )
        shape = (model.task.num_outputs, model.encoder.num_features)
        weight = np.random.default_rng(seed).normal(0, 0.2, shape).astype("float32")
        set_linear(model.head.linear, weight, np.zeros(len(weight), "float32"))
        return engine.checkpoint.save(model, tmp_path / f"{kind}-{seed}")

    return make


@pytest.mark.parametrize("kind", ["tree", "classification"])
def test_an_ensemble_with_dropout_is_scored_as_the_mixture_that_predict_gives(
    kind, make_checkpoint, engine, engine_name, catalog, tmp_path
):
    first, second = make_checkpoint(kind, 1), make_checkpoint(kind, 2)
    asked = {"catalog": catalog, "checkpoint": first, "ensemble": (second,), "n_samples": 2}
    asked |= {"backend": engine_name, **COMMON}
    found = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", **asked))
    assert "by the equal mixture of 2 models with 2 dropout samples each" in found.table
    table = workflow.predict(PredictOptions(save_loc=tmp_path / "p.parquet", **asked)).save_loc
    task = engine.checkpoint.load(first).task
    for predictions in (table, tmp_path / "e" / "predictions.parquet"):
        blocks = list(read_samples(predictions, task.output_columns))
        samples = np.concatenate([values for _, values in blocks], axis=1)
        assert samples.shape == (4, 20, task.num_outputs)
        assert (samples.std(axis=0) > 0).any()
        edge_on = np.arange(20) % 2
        if kind == "classification":
            scores = task.metrics(samples.mean(axis=0), edge_on[:, None].astype(float))
            name = "log_loss"
        else:
            votes = [[18, 2, 0, 0] if edge else [1, 19, 5, 14] for edge in edge_on]
            scores, name = task.metrics(samples, np.array(votes, float)), "nll"
        assert found.scores[name] == pytest.approx(scores[name], rel=1e-4)
    assert {"ece", name} <= set(json.loads((tmp_path / "e" / "evaluation.json").read_text())["scores"])
    assert (tmp_path / "e" / "predictions.png").exists()
    if kind == "tree":
        assert "Share of votes inside predicted intervals" in found.table


def test_models_of_other_tasks_are_refused(make_checkpoint, engine_name, catalog, tmp_path):
    with pytest.raises(ConfigError, match="must share one task"):
        workflow.evaluate(
            EvaluateOptions(
                catalog=catalog,
                checkpoint=make_checkpoint("tree", 1),
                ensemble=(make_checkpoint("classification", 1),),
                save_dir=tmp_path / "e",
                backend=engine_name,
                **COMMON,
            )
        )
    assert not (tmp_path / "e").exists()
