"""A finetuned model written by either engine is read by the other and predicts the same."""

import numpy as np
import pandas as pd
import pytest

KINDS = ["classification", "multi-label", "regression", "tree"]
ENGINES = [("pytorch", "tensorflow"), ("tensorflow", "pytorch")]


@pytest.fixture(scope="module")
def finetuned(both_engines, make_model, catalog_path, tmp_path_factory):
    """The folder of a model of each engine and kind that has learnt a little, and its predictions."""
    made = {}

    def get(name, kind):
        if (name, kind) not in made:
            engine, folder = both_engines[name], tmp_path_factory.mktemp("run")
            model = make_model(engine, kind, n_blocks=1, learning_rate=1e-2, warmup_epochs=0)
            galaxies = engine.data.GalaxyDataModule(catalog_path, batch_size=8)
            trainer = engine.finetune.get_trainer(folder, max_epochs=1, progress=False, accelerator="cpu")
            trainer.fit(model, galaxies)
            table = engine.predict.predict(catalog_path, model, progress=False).table
            made[name, kind] = folder / "checkpoint", table
        return made[name, kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("writer", "reader"), ENGINES)
def test_the_other_engine_predicts_the_same(both_engines, finetuned, catalog_path, kind, writer, reader):
    folder, want = finetuned(writer, kind)
    model = both_engines[reader].checkpoint.load(folder)
    got = both_engines[reader].predict.predict(catalog_path, model, progress=False).table
    assert list(got) == list(want)
    assert got["id_str"].tolist() == want["id_str"].tolist()
    numbers, expected = got.iloc[:, 1:].to_numpy(), want.iloc[:, 1:].to_numpy()
    assert np.ptp(expected, axis=0).max() > 1e-3  # the galaxies differ, so equal numbers say something
    np.testing.assert_allclose(numbers, expected, rtol=1e-4 if kind == "regression" else 0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_written(both_engines, finetuned, kind, tmp_path):
    """Through the other engine and back, not one bit has changed."""
    from zoobot.shared.checkpoint import read_checkpoint

    folder, _ = finetuned("pytorch", kind)
    model = both_engines["tensorflow"].checkpoint.load(folder)
    assert model.task.to_config() == read_checkpoint(folder).task
    there = read_checkpoint(both_engines["tensorflow"].checkpoint.save(model, tmp_path / "there"))
    model = both_engines["pytorch"].checkpoint.load(tmp_path / "there")
    back = read_checkpoint(both_engines["pytorch"].checkpoint.save(model, tmp_path / "back"))
    for state in ("encoder", "head_tensors"):
        first, last = getattr(read_checkpoint(folder), state), getattr(back, state)
        assert first.keys() == last.keys()
        for name, array in first.items():
            np.testing.assert_array_equal(last[name], array, err_msg=name)
            assert last[name].dtype == array.dtype
    assert (there.task, there.preprocessing, there.head) == (back.task, back.preprocessing, back.head)


def test_runs_leave_the_same_files_and_columns(finetuned):
    for kind in KINDS:
        runs = [finetuned(name, kind)[0].parent for name in ("pytorch", "tensorflow")]
        files = [{path.name for path in run.iterdir()} for run in runs]
        assert files[0] == files[1] == {"checkpoint", "last.ckpt", "metrics.csv", "split.parquet"}
        first, second = (pd.read_csv(run / "metrics.csv") for run in runs)
        assert list(first) == list(second)
        for column in ("epoch", "step", "learning_rate"):
            np.testing.assert_allclose(first[column], second[column], rtol=1e-6)
