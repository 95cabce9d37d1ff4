"""Whole models trained on one or several campaigns, and what a trainer does to gradients and weights."""

import gc
import weakref

import numpy as np
import pandas as pd
import pytest

from zoobot.shared import schemas
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import ConfigError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
from zoobot.shared.schemas import Schema

SHAPES = Schema.from_pairs({"shape": ["edge-on", "round"]}, name="shapes")
BARS = Schema.from_pairs({"bar": ["yes", "no"]}, name="bars")
BOTH = schemas.join([SHAPES, BARS])
STEADY = {"dropout_prob": 0.0, "schedule": "constant", "warmup_epochs": 0}


@pytest.fixture
def make_tree(engine):
    def make(schema=BOTH, name="test_resnet", **options):
        small = {"name": name, "preprocessing": {"image_size_pix": 32}}
        return engine.models.ZoobotTree(schema=schema, **(small | options))

    return make


@pytest.fixture
def split_votes(make_galaxies, catalog_path):
    """Galaxies of which each has votes of one campaign only, and never changing images."""

    def make(**options):
        table = pd.read_csv(catalog_path)
        table["file_loc"] = [str(catalog_path.parent / name) for name in table["file_loc"]]
        table.loc[table.index % 4 < 2, BARS.label_cols] = np.nan
        table.loc[table.index % 4 >= 2, SHAPES.label_cols] = np.nan
        return make_galaxies(table, augmentation=None, **options)

    return make


def arrays_of(model, folder):
    neutral = read_checkpoint(model.save(folder))
    return neutral.encoder | {f"head.{name}": array for name, array in neutral.head_tensors.items()}


def test_a_tree_learns_whole(engine, make_tree, fit, catalog_path, tmp_path):
    model = make_tree(learning_rate=3e-3, **STEADY)
    before = arrays_of(model, tmp_path / "before")
    fit(model, tmp_path / "run", max_epochs=12, gradient_clip=5.0, ema_decay=0.5)
    after = arrays_of(model, tmp_path / "after")
    floats = [name for name, array in before.items() if array.dtype.kind == "f" and "calibration" not in name]
    assert all(not np.array_equal(before[name], after[name]) for name in floats)
    scores = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert scores["val_loss"].min() < scores["val_loss"].iloc[0]
    predicted = engine.predict.predict(catalog_path, model, progress=False).table
    edge_on = pd.read_csv(catalog_path)["edge_on"]
    assert np.corrcoef(predicted["shape_edge-on_concentration"], edge_on)[0, 1] > 0.6


def test_votes_of_one_campaign_teach_the_questions_of_no_other(
    make_tree, fit, make_galaxies, catalog_path, tmp_path
):
    table = pd.read_csv(catalog_path)
    table["file_loc"] = [str(catalog_path.parent / name) for name in table["file_loc"]]
    table[BARS.label_cols] = np.nan
    model = make_tree(learning_rate=1e-2, weight_decay=0.0, **STEADY)
    fit(model, tmp_path / "run", galaxies=make_galaxies(table))
    weight = read_checkpoint(model.save(tmp_path / "after")).head_tensors["linear.weight"]
    assert np.abs(weight[:2]).max() > 1e-4
    np.testing.assert_array_equal(weight[2:], 0)  # AdamW moves whatever has a gradient, however small


def test_losses_by_question_and_campaign_are_those_of_who_was_asked(
    engine, make_tree, fit, split_votes, tmp_path
):
    """With a rate near 0, the losses of an epoch are those of the start."""
    model, galaxies = make_tree(learning_rate=1e-30, **STEADY), split_votes()
    fit(model, tmp_path, galaxies=galaxies, max_epochs=1)
    row = pd.read_csv(tmp_path / "metrics.csv").iloc[0]
    training = galaxies.train_galaxies
    start = engine.checkpoint.load(tmp_path / "checkpoint")
    predicted = engine.predict.predict(training, start, progress=False).table.drop(columns="id_str")
    votes = np.nan_to_num(training.labels)
    losses = dirichlet_multinomial_nll(predicted.to_numpy(float), votes, BOTH.question_slices)
    asked = losses != 0
    assert 0 < asked[:, 0].sum() < len(training)
    for place, (question, campaign) in enumerate([("shape", "shapes"), ("bar", "bars")]):
        want = losses[asked[:, place], place].mean()
        assert row[f"train_nll_{question}"] == pytest.approx(want, rel=1e-4)
        assert row[f"train_nll_campaign_{campaign}"] == pytest.approx(want, rel=1e-4)
    assert row["train_loss"] == pytest.approx(losses.sum(axis=1).mean(), rel=1e-4)


def test_the_average_is_what_is_validated_and_saved(make_tree, fit, make_galaxies, tmp_path):
    """Averaged so slowly that almost all of it is the start, at a rate that moves the weights far."""
    options = {"learning_rate": 1e-2, "name": "test_convnext", **STEADY}
    runs = {
        name: fit(
            make_tree(**options),
            tmp_path / name,
            galaxies=make_galaxies(augmentation=None, batch_size=64),
            max_epochs=1,
            ema_decay=decay,
        )
        for name, decay in (("last", 0.0), ("averaged", 0.9))
    }
    first = make_tree(**options)
    first.meet(make_galaxies())
    start, last, averaged = (
        arrays_of(m, tmp_path / f"weights-{n}") for n, m in {"start": first, **runs}.items()
    )
    for name, array in start.items():
        want = array + 0.9 * (last[name] - array)  # of its first update, a tenth is the start
        np.testing.assert_allclose(averaged[name], want, atol=1e-6, err_msg=name)
    losses = [pd.read_csv(tmp_path / name / "metrics.csv")["val_loss"][0] for name in runs]
    assert losses[0] != losses[1]
    saved = read_checkpoint(tmp_path / "averaged" / "checkpoint")
    assert saved.training["val_loss"] == pytest.approx(losses[1], rel=1e-6)


def test_a_run_resumed_with_averages_and_large_steps_equals_one_never_killed(
    make_tree, fit, make_galaxies, tmp_path
):
    def run(folder, **options):
        model = make_tree(learning_rate=1e-2, **STEADY | {"dropout_prob": 0.3})
        steps = {"gradient_clip": 0.5, "accumulate_batches": 2, "ema_decay": 0.9}
        return fit(model, tmp_path / folder, **steps, **options)

    whole = run("whole", max_epochs=3)
    run("killed", max_epochs=2)
    resumed = run("killed", max_epochs=3, ckpt_path="last")
    expected, got = arrays_of(whole, tmp_path / "a"), arrays_of(resumed, tmp_path / "b")
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    logged = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*logged)


def test_an_epoch_ends_with_a_step_however_few_batches_are_left(make_tree, fit, tmp_path):
    fit(make_tree(), tmp_path, accumulate_batches=2)  # 3 batches an epoch
    assert pd.read_csv(tmp_path / "metrics.csv")["step"].tolist() == [2, 4]


def test_halves_of_a_batch_together_make_its_step(make_tree, fit, make_galaxies, tmp_path):
    """16 of 24 galaxies learn: two batches of 8 are one of 16."""
    arrays = []
    for batch_size, accumulate in ((16, 1), (8, 2)):
        model = make_tree(learning_rate=1e-3, name="test_convnext", **STEADY)
        galaxies = make_galaxies(batch_size=batch_size, val_fraction=1 / 3, augmentation=None)
        options = {"accumulate_batches": accumulate, "max_epochs": 2}
        fit(model, tmp_path / f"run-{batch_size}", galaxies=galaxies, **options)
        arrays.append(arrays_of(model, tmp_path / f"weights-{batch_size}"))
    for name, array in arrays[0].items():
        np.testing.assert_allclose(arrays[1][name], array, atol=2e-6, err_msg=name)


def test_clipping_shortens_the_step_of_a_long_gradient_only(make_tree, fit, tmp_path):
    """AdamW's first step has the same length whatever the gradient's, but for those near epsilon."""
    moved = []
    for clip in (None, 1e6, 1e-9):
        model = make_tree(learning_rate=1e-3, weight_decay=0.0, **STEADY)
        before = arrays_of(model, tmp_path / f"{clip}-before")["conv1.0.weight"]
        fit(model, tmp_path / f"{clip}-run", max_epochs=1, gradient_clip=clip)
        moved.append(np.abs(arrays_of(model, tmp_path / f"{clip}-after")["conv1.0.weight"] - before).max())
    assert moved[0] == moved[1]
    assert moved[2] < 0.5 * moved[0]


def test_a_model_that_was_trained_can_be_forgotten(make_tree, fit, tmp_path):
    model = fit(make_tree(), tmp_path, max_epochs=1)
    still_there = weakref.ref(model)
    del model
    gc.collect()
    assert still_there() is None


def test_a_model_that_was_loaded_trains_like_one_that_was_not(engine, make_tree, fit, tmp_path):
    fresh = make_tree(**STEADY)
    loaded = engine.checkpoint.load(fresh.save(tmp_path / "start"))
    again = make_tree(name=None, encoder=loaded.encoder, **STEADY)
    arrays = [
        arrays_of(fit(model, tmp_path / f"run-{number}"), tmp_path / f"weights-{number}")
        for number, model in enumerate((fresh, again))
    ]
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(arrays[1][name], array, err_msg=name)


@pytest.mark.parametrize("n_blocks", [1, "all"])
def test_batches_of_one_galaxy_are_refused_where_batch_norms_learn(
    make_model, make_galaxies, fit, tmp_path, n_blocks
):
    model = make_model("classification", n_blocks=n_blocks)
    with pytest.raises(ConfigError, match="batches of one galaxy, and batch norms that learn need two"):
        fit(model, tmp_path, galaxies=make_galaxies(batch_size=1))
    assert not (tmp_path / "checkpoint").exists()


def test_batches_of_one_galaxy_teach_what_has_no_batch_norm_that_learns(
    make_model, make_galaxies, fit, tmp_path
):
    for number, options in enumerate(({"cache_features": False}, {"n_blocks": 1, "name": "test_convnext"})):
        model = make_model("classification", **options)
        fit(model, tmp_path / str(number), galaxies=make_galaxies(batch_size=1), max_epochs=1)
        assert (tmp_path / str(number) / "checkpoint").exists()


def test_galaxies_are_encoded_once_in_the_precision_of_the_run(make_model, fit, tmp_path):
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        fit(make_model("classification", n_blocks=0), tmp_path / precision, precision=precision)
        losses[precision] = pd.read_csv(tmp_path / precision / "metrics.csv")["val_loss"].min()
    assert losses["bf16-mixed"] != losses["32-true"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], abs=0.02)
