"""A tree trained whole by either engine, with all that trainers can do, is the same run and model."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.checkpoint import read_checkpoint

TRAINER = {
    "max_epochs": 4,
    "gradient_clip": 0.5,
    "accumulate_batches": 2,
    "ema_decay": 0.8,
    "progress": False,
    "accelerator": "cpu",
}


@pytest.fixture(scope="module")
def runs(both_engines, make_model, catalog_path, tmp_path_factory):
    """The folder of a run of each engine from the same weights, and the predictions of its model."""
    folder, made = tmp_path_factory.mktemp("whole"), {}
    both_engines["pytorch"].checkpoint.save(make_model(both_engines["pytorch"], "tree"), folder / "start")
    for name, engine in both_engines.items():
        start = engine.checkpoint.load(folder / "start")
        model = engine.models.ZoobotTree(
            schema=start.task.schema, encoder=start.encoder, dropout_prob=0.0, warmup_epochs=0
        )
        galaxies = engine.data.GalaxyDataModule(catalog_path, batch_size=8)
        engine.finetune.get_trainer(folder / name, **TRAINER).fit(model, galaxies)
        made[name] = folder / name, predict(engine, model, catalog_path)
    return made


def predict(engine, model, catalog):
    return engine.predict.predict(catalog, model, progress=False).table


def test_the_same_epochs_are_logged(runs):
    first, second = (pd.read_csv(folder / "metrics.csv") for folder, _ in runs.values())
    assert list(first) == list(second)
    assert {"train_nll_shape", "train_nll_bar", "val_nll_shape"} <= set(first)
    assert first["step"].tolist() == second["step"].tolist() == [2, 4, 6, 8]
    for column in ("learning_rate", "train_loss", "train_nll_shape", "train_nll_bar", "val_loss"):
        np.testing.assert_allclose(second[column], first[column], rtol=1e-4, err_msg=column)
    assert first["train_loss"].iloc[-1] < first["train_loss"].iloc[0]


def test_the_same_weights_are_kept(runs):
    first, second = (read_checkpoint(folder / "checkpoint") for folder, _ in runs.values())
    assert first.training["epoch"] == second.training["epoch"]
    for part in ("encoder", "head_tensors"):
        arrays, others = getattr(first, part), getattr(second, part)
        assert arrays.keys() == others.keys()
        floats = [name for name, array in arrays.items() if array.dtype.kind == "f"]
        differences = np.concatenate([np.ravel(np.abs(arrays[name] - others[name])) for name in floats])
        assert np.quantile(differences, 0.999) < 1e-5


@pytest.mark.parametrize(("writer", "reader"), [("pytorch", "tensorflow"), ("tensorflow", "pytorch")])
def test_the_other_engine_reads_the_model_and_predicts_the_same(
    both_engines, runs, catalog_path, writer, reader
):
    folder, want = runs[writer]
    engine = both_engines[reader]
    model = engine.checkpoint.load(folder / "checkpoint")
    assert isinstance(model, engine.finetune.FinetuneableZoobotTree)
    got = predict(engine, model, catalog_path)
    assert list(got) == list(want)
    numbers, expected = got.iloc[:, 1:].to_numpy(), want.iloc[:, 1:].to_numpy()
    assert np.ptp(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(numbers, expected, rtol=0, atol=1e-4)
