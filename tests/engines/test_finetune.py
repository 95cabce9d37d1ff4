"""Finetuning, from labels to the best model, in every engine."""

import pickle
import signal
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import (
    CatalogError,
    CheckpointError,
    ConfigError,
    ImageError,
    LabelError,
    NonFiniteError,
)
from zoobot.shared.training.targets import prior_concentrations

KINDS = ["classification", "multi-label", "regression", "tree"]


def predictions(engine, model, catalog):
    table = engine.predict.predict(catalog, model, progress=False).table
    return table.drop(columns="id_str").to_numpy()


def encoder_arrays(model, tmp_path):
    return read_checkpoint(model.save(tmp_path / "weights")).encoder


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_learns_to_tell_edge_on_from_round(kind, engine, make_model, fit, catalog_path, tmp_path):
    options = {
        "learning_rate": 3e-3,
        "n_blocks": "all",
        "lr_decay": 1.0,
        "dropout_prob": 0.0,
        "warmup_epochs": 0,
    }
    model = fit(make_model(kind, **options), tmp_path, max_epochs=12)
    table = engine.predict.predict(catalog_path, model, progress=False).table
    truth = pd.read_csv(catalog_path)["edge_on"].to_numpy()
    column = {
        "classification": "edge_on_edge-on_probability",
        "multi-label": "edge_on_probability",
        "regression": "axis_ratio_predicted",
        "tree": "shape_edge-on_concentration",
    }[kind]
    correlation = np.corrcoef(table[column], truth)[0, 1]
    assert (-correlation if kind == "regression" else correlation) > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_gives_the_predictions_of_the_model_in_memory(
    kind, engine, make_model, fit, catalog_path, tmp_path
):
    model = fit(make_model(kind, n_blocks=1, learning_rate=1e-2), tmp_path)
    loaded = engine.checkpoint.load(tmp_path / "checkpoint")
    assert loaded.task == model.task
    assert loaded.preprocessing == model.preprocessing
    np.testing.assert_array_equal(
        predictions(engine, loaded, catalog_path), predictions(engine, model, catalog_path)
    )


def test_the_model_is_left_with_its_best_weights_not_its_last(
    engine, make_model, fit, catalog_path, tmp_path
):
    model = fit(make_model("regression", n_blocks="all", learning_rate=0.05), tmp_path, max_epochs=5)
    scores = pd.read_csv(tmp_path / "metrics.csv")
    best = scores["val_loss"].idxmin()
    assert read_checkpoint(tmp_path / "checkpoint").training["epoch"] == scores["epoch"][best]
    assert read_checkpoint(tmp_path / "checkpoint").training["val_loss"] == pytest.approx(
        scores["val_loss"][best], rel=1e-6
    )
    np.testing.assert_array_equal(
        predictions(engine, model, catalog_path),
        predictions(engine, engine.checkpoint.load(tmp_path / "checkpoint"), catalog_path),
    )


def test_metrics_have_a_row_for_each_epoch_and_the_scores_of_the_task(make_model, fit, tmp_path):
    fit(make_model("classification"), tmp_path, max_epochs=3)
    scores = pd.read_csv(tmp_path / "metrics.csv")
    assert scores["epoch"].tolist() == [1, 2, 3]
    assert {"step", "learning_rate", "train_loss", "val_loss", "val_accuracy", "val_roc_auc"} <= set(scores)
    assert np.isfinite(scores[["train_loss", "val_loss"]].to_numpy()).all()
    assert (scores["learning_rate"].diff().dropna() < 0).all()


def test_head_only_training_leaves_every_encoder_array_as_it_was(make_model, fit, tmp_path):
    model = make_model("classification", n_blocks=0, learning_rate=1e-2)
    before = encoder_arrays(model, tmp_path)
    after = encoder_arrays(fit(model, tmp_path / "run"), tmp_path)
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)


def test_only_the_top_blocks_move_and_frozen_norm_statistics_stay(make_model, fit, tmp_path):
    model = make_model("classification", n_blocks=1, learning_rate=1e-2)
    before = encoder_arrays(model, tmp_path)
    after = encoder_arrays(fit(model, tmp_path / "run"), tmp_path)
    moved = {name for name, array in before.items() if not np.array_equal(after[name], array)}
    assert moved
    assert all(name.startswith("layer4.") for name in moved)
    assert any(name.endswith("running_mean") for name in moved)


def test_a_run_resumed_after_a_kill_ends_with_the_weights_of_one_never_killed(
    make_model, fit, make_galaxies, tmp_path
):
    options = {"n_blocks": 1, "learning_rate": 1e-2, "schedule": "constant", "dropout_prob": 0.3}
    whole = fit(make_model("classification", **options), tmp_path / "whole", max_epochs=4)
    fit(make_model("classification", **options), tmp_path / "killed", max_epochs=2)
    resumed = fit(
        make_model("classification", **options), tmp_path / "killed", max_epochs=4, ckpt_path="last"
    )
    expected, got = encoder_arrays(whole, tmp_path / "a"), encoder_arrays(resumed, tmp_path / "b")
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    logged = [pd.read_csv(tmp_path / run / "metrics.csv") for run in ("whole", "killed")]
    pd.testing.assert_frame_equal(*logged)


class Trap:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_hostile_last_ckpt_runs_nothing(make_model, fit, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").write_bytes(pickle.dumps({"state_dict": Trap(tmp_path / "pwned")}))
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        fit(make_model("classification"), tmp_path / "run", ckpt_path="last")
    assert not (tmp_path / "pwned").exists()


def test_the_same_seed_gives_the_same_model(engine, make_model, fit, catalog_path, tmp_path):
    runs = [
        predictions(
            engine, fit(make_model("tree", learning_rate=1e-2, seed=seed), tmp_path / name), catalog_path
        )
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("learning_rate", [1e-3, 1e30])
def test_signals_are_handled_after_training_as_they_were_before(learning_rate, make_model, fit, tmp_path):
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]

    before = handlers()
    model = make_model("regression", learning_rate=learning_rate, n_blocks="all", warmup_epochs=0)
    with pytest.raises(NonFiniteError) if learning_rate > 1 else nullcontext():
        fit(model, tmp_path)
    assert handlers() == before


def test_training_stops_early_when_nothing_improves(make_model, fit, tmp_path):
    model = make_model("classification", learning_rate=1e-12, warmup_epochs=0)
    fit(model, tmp_path, max_epochs=20, patience=2)
    assert len(pd.read_csv(tmp_path / "metrics.csv")) < 20


def test_balanced_weights_make_the_rare_class_count(make_model, make_galaxies, catalog_path):
    table = pd.read_csv(catalog_path)
    table["file_loc"] = [str(catalog_path.parent / name) for name in table["file_loc"]]
    rare = table[(table["edge_on"] == 0) | (table.index < 4)]
    model = make_model("classification", class_weights="balanced")
    model.meet(make_galaxies(rare, split="stratified"))
    weights = np.asarray(model.class_weights)
    assert weights[1] > 3 * weights[0]


def test_regression_predicts_in_the_units_of_the_targets_before_any_training(
    engine, make_model, make_galaxies, catalog_path
):
    model = make_model("regression")
    data = make_galaxies()
    model.meet(data)
    flux = predictions(engine, model, catalog_path)[:, 1]
    np.testing.assert_allclose(flux, np.nanmean(data.train_galaxies.labels[:, 1]), rtol=1e-5)


def test_a_tree_starts_from_what_is_common_to_all_galaxies(engine, make_model, make_galaxies, catalog_path):
    model = make_model("tree")
    data = make_galaxies()
    model.meet(data)
    expected = prior_concentrations(data.train_galaxies.labels, model.task.schema)
    got = predictions(engine, model, catalog_path)
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=1e-5)


def test_a_trained_head_keeps_its_statistics_when_it_meets_other_galaxies(
    engine, make_model, make_galaxies, fit, catalog_path, tmp_path
):
    for kind in ("regression", "tree"):
        model = fit(make_model(kind, learning_rate=1e-2), tmp_path / kind)
        before = predictions(engine, model, catalog_path)
        table = pd.read_csv(catalog_path).head(12)
        model.meet(make_galaxies(table, root=catalog_path.parent))
        np.testing.assert_array_equal(predictions(engine, model, catalog_path), before)


def test_labels_that_are_no_classes_are_refused_before_work(make_model, make_galaxies, fit, tmp_path):
    with pytest.raises(LabelError, match="whole numbers from 0 to 1"):
        fit(make_model("classification", label_cols=["axis_ratio"]), tmp_path)
    with pytest.raises(CatalogError, match="no_such"):
        fit(make_model("classification", label_cols=["no_such"]), tmp_path)
    assert not (tmp_path / "metrics.csv").exists()


def test_a_model_made_for_other_columns_is_refused(make_model, make_galaxies, fit, tmp_path):
    with pytest.raises(ConfigError, match="made for the label columns"):
        fit(make_model("classification"), tmp_path, galaxies=make_galaxies(label_cols=["round"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_blocks": 99}, "n_blocks must be"),
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'"),
        ({"dropout_prob": 1.0}, "dropout_prob must be at least 0 and below 1"),
        ({"class_weights": "even"}, "class_weights must be 'balanced'"),
        ({"loss": "hinge"}, "hinge"),
        ({"class_names": ["a"]}, "two or more"),
        ({"num_classes": 3}, "different numbers"),
        ({"preprocessing": {"size": 3}}, "unknown preprocessing option"),
    ],
)
def test_bad_options_are_refused(options, words, make_model):
    with pytest.raises(ConfigError, match=words):
        make_model("classification", **options)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_galaxies(make_model, fit, tmp_path):
    model = make_model("regression", learning_rate=1e30, n_blocks="all", warmup_epochs=0)
    with pytest.raises(NonFiniteError, match="galaxy-"):
        fit(model, tmp_path)


def test_an_unreadable_image_is_recorded_and_the_run_goes_on(
    make_model, make_galaxies, fit, write_galaxies, tmp_path
):
    catalog = write_galaxies(tmp_path / "survey")
    (tmp_path / "survey" / "3.png").write_bytes(b"no image")
    data = make_galaxies(catalog, max_failed_fraction=0.2)
    fit(make_model("classification"), tmp_path / "run", galaxies=data)
    assert data.failures["id_str"].tolist() == ["galaxy-3"]


def test_too_many_unreadable_images_end_the_run(make_model, make_galaxies, fit, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey")
    for i in range(0, 24, 2):
        (tmp_path / "survey" / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="max_failed_fraction"):
        fit(make_model("classification"), tmp_path / "run", galaxies=make_galaxies(catalog))


def test_targets_that_are_missing_are_left_out_and_those_that_can_not_be_meant_are_asked_about(
    make_model, make_galaxies, catalog_path, caplog
):
    table = pd.read_csv(catalog_path)
    table["file_loc"] = [str(catalog_path.parent / file) for file in table["file_loc"]]
    table["size"] = np.where(np.arange(24) < 4, -99, np.where(np.arange(24) < 6, np.nan, 7.0))
    with pytest.raises(LabelError, match=r"column 'size' of the DataFrame .* -99 \(4 galaxies\)"):
        make_model("regression", label_cols=["size"]).meet(make_galaxies(table))
    with pytest.raises(LabelError, match="measured numbers are for a task of regression"):
        make_model("classification", label_cols=["axis_ratio"]).meet(make_galaxies(table))
    data = make_galaxies(table, missing_values=[-99])
    with caplog.at_level("INFO", logger="zoobot"):
        make_model("regression", label_cols=["size"]).meet(data)
    assert sum(len(part) for part in data.galaxies.values()) == 18
    assert "Left out 6 of 24 galaxies" in caplog.text
    data = make_galaxies(table.assign(split=["train", "val"] * 12), suspect_targets="keep")
    make_model("regression", label_cols=["size"]).meet(data)
    assert [len(data.galaxies[name]) for name in ("train", "val")] == [11, 11]


@pytest.mark.parametrize("n_blocks", [0, 1])
def test_a_log_is_told_of_each_epoch_from_one_to_n(n_blocks, make_model, fit, tmp_path, caplog):
    caplog.set_level("INFO", logger="zoobot")
    fit(make_model("classification", n_blocks=n_blocks), tmp_path, max_epochs=3, progress=True)
    said = [record.getMessage() for record in caplog.records if record.name == "zoobot"]
    epochs = [line for line in said if line.startswith("Epoch ")]
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["epoch"].tolist() == [1, 2, 3]
    for row, line in zip(table.itertuples(), epochs, strict=True):
        losses = f"train_loss {row.train_loss:.4f}, val_loss {row.val_loss:.4f}"
        assert line.startswith(f"Epoch {row.epoch:.0f} of 3: {losses}")
    kept = read_checkpoint(tmp_path / "checkpoint").training
    best = [number for number, line in enumerate(epochs, 1) if "(best so far)" in line]
    assert kept["epoch"] == (best[-1] if best else 0)
    if n_blocks == 0:
        encoded = [line for line in said if line.startswith("Encoding")]
        assert len(encoded) == 2, said  # those that train, and those that validate
        assert any(line.startswith("Looking for the best head on the features of") for line in said)


@pytest.mark.parametrize("kind", ["classification", "multi-label", "regression"])
def test_a_best_head_on_fixed_features_needs_no_epochs(
    kind, engine, make_model, fit, catalog_path, tmp_path, caplog
):
    caplog.set_level("INFO", logger="zoobot")
    model = fit(make_model(kind), tmp_path, max_epochs=None)
    assert "No epochs follow" in caplog.text
    scores = pd.read_csv(tmp_path / "metrics.csv")
    assert scores[["epoch", "step", "learning_rate"]].to_numpy().tolist() == [[0, 0, 0]]
    assert np.isfinite(scores[["train_loss", "val_loss"]].to_numpy()).all()
    training = read_checkpoint(tmp_path / "checkpoint").training
    assert (training["epoch"], training["head_start"]) == (0, "optimum")
    assert training["val_loss"] == pytest.approx(scores["val_loss"][0])
    assert not model.head.is_untrained
    found = predictions(engine, model, catalog_path)
    loaded = engine.checkpoint.load(tmp_path / "checkpoint")
    np.testing.assert_array_equal(predictions(engine, loaded, catalog_path), found)

    files = {name: (tmp_path / name).read_bytes() for name in ("metrics.csv", "split.parquet")}
    resumed = fit(make_model(kind), tmp_path, max_epochs=None, ckpt_path="last")  # as after a kill
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    np.testing.assert_array_equal(predictions(engine, resumed, catalog_path), found)


def test_epochs_that_are_asked_for_follow_the_best_head(make_model, fit, tmp_path):
    fit(make_model("classification"), tmp_path / "a", max_epochs=2)
    assert pd.read_csv(tmp_path / "a" / "metrics.csv")["epoch"].tolist() == [1, 2]
    fit(make_model("classification"), tmp_path / "b", max_epochs=None)
    fit(make_model("classification"), tmp_path / "b", max_epochs=2, ckpt_path="last")
    scores = [pd.read_csv(tmp_path / run / "metrics.csv") for run in "ab"]
    assert scores[1]["epoch"].tolist() == [0, 1, 2]
    columns = ["epoch", "step", "learning_rate", "val_loss"]
    pd.testing.assert_frame_equal(scores[1][columns][1:].reset_index(drop=True), scores[0][columns])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("tree", {}),
        ("classification", {"loss": "focal"}),
        ("multi-label", {"loss": "focal"}),
        ("regression", {"unit_interval": True, "label_cols": ["axis_ratio"]}),
        ("classification", {"head_start": "prior"}),
        ("classification", {"cache_features": False}),
        ("classification", {"n_blocks": 1}),
    ],
)
def test_epochs_follow_where_they_may_better_the_head(kind, options, make_model, fit, tmp_path):
    fit(make_model(kind, learning_rate=0.1, **options), tmp_path, max_epochs=None, patience=1)
    steps = pd.read_csv(tmp_path / "metrics.csv")["step"]
    assert (steps > 0).all()


def test_a_head_that_is_best_by_another_score_is_trained_on(make_model, fit, tmp_path):
    options = {"max_epochs": None, "monitor": "val_accuracy", "patience": 1}
    fit(make_model("classification"), tmp_path, **options)
    assert (pd.read_csv(tmp_path / "metrics.csv")["step"] > 0).all()


def test_of_many_views_the_best_head_is_of_all(make_model, fit, tmp_path):
    options = {"feature_views": 3}
    fit(make_model("classification", **options), tmp_path, max_epochs=None, ema_decay=0.5)
    assert pd.read_csv(tmp_path / "metrics.csv")["step"].tolist() == [0]
