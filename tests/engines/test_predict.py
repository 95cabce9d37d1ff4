"""Predicting over catalogs, in every engine."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.errors import CheckpointError, ConfigError, ImageError, NonFiniteError, PredictionsError
from zoobot.shared.predictions import read_prediction_metadata, read_predictions


def test_predictions_keep_the_catalogs_order_and_are_the_same_each_time(engine, make_model, catalog_path):
    model = make_model("tree", dropout_prob=0.9)
    first, second = (engine.predict.predict(catalog_path, model, progress=False).table for _ in range(2))
    assert first["id_str"].tolist() == [f"galaxy-{i}" for i in range(24)]
    assert list(first)[1:] == model.task.output_columns
    pd.testing.assert_frame_equal(first, second)


def test_batch_size_and_workers_do_not_change_the_numbers(engine, make_model, catalog_path):
    model = make_model("classification")
    tables = [
        engine.predict.predict(catalog_path, model, batch_size=b, num_workers=w, progress=False).table
        for b, w in ((24, 0), (7, 2), (1, 1))
    ]
    for table in tables[1:]:
        np.testing.assert_allclose(table.iloc[:, 1:], tables[0].iloc[:, 1:], atol=1e-6)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".hdf5"])
def test_a_saved_table_is_the_table_in_memory(suffix, engine, make_model, catalog_path, tmp_path):
    model = make_model("regression")
    in_memory = engine.predict.predict(catalog_path, model, progress=False).table
    saved = engine.predict.predict(
        catalog_path, model, save_loc=tmp_path / f"p{suffix}", batch_size=5, progress=False
    )
    np.testing.assert_allclose(saved.table.iloc[:, 1:], in_memory.iloc[:, 1:], rtol=1e-4)
    assert read_predictions(tmp_path / f"p{suffix}")["id_str"].tolist() == in_memory["id_str"].tolist()


def test_one_galaxy(engine, make_model, catalog_path):
    one = pd.read_csv(catalog_path).head(1)
    for kind in ("classification", "regression", "tree"):
        model = make_model(kind)
        table = engine.predict.predict(one, model, root=catalog_path.parent, progress=False).table
        assert table.shape == (1, 1 + model.task.num_outputs)


def test_probabilities_and_concentrations_are_in_their_ranges(engine, make_model, catalog_path):
    probabilities = engine.predict.predict(catalog_path, make_model("classification"), progress=False).table
    np.testing.assert_allclose(probabilities.iloc[:, 1:].sum(axis=1), 1, rtol=1e-6)
    concentrations = engine.predict.predict(catalog_path, make_model("tree"), progress=False).table
    assert (concentrations.iloc[:, 1:] >= 1).all(axis=None)
    assert (concentrations.iloc[:, 1:] <= 101).all(axis=None)


def test_dropout_samples_differ_and_are_seeded(engine, make_model, fit, catalog_path, tmp_path):
    options = {"dropout_prob": 0.5, "learning_rate": 1e-2}
    # the best head at once would be so sure of such galaxies that samples round to the same number
    model = fit(make_model("classification", **options, head_start="prior"), tmp_path)

    def sample(seed):
        return engine.predict.predict(catalog_path, model, n_samples=3, seed=seed, progress=False).table

    table = sample(1)
    assert len(table) == 3 * 24
    spread = table.groupby("id_str")["edge_on_round_probability"].std()
    assert (spread > 0).all()
    pd.testing.assert_frame_equal(table, sample(1))
    assert not table.equals(sample(2))
    assert set(table["sample"]) == {0, 1, 2}


def test_a_bad_image_is_recorded_and_the_others_are_predicted(engine, make_model, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey")
    (tmp_path / "survey" / "5.png").write_bytes((tmp_path / "survey" / "5.png").read_bytes()[:60])
    result = engine.predict.predict(catalog, make_model("tree"), progress=False)
    assert result.failures["id_str"].tolist() == ["galaxy-5"]
    assert "galaxy-5" not in result.table["id_str"].tolist()
    assert len(result.table) == 23


def test_no_readable_image_is_an_error_and_leaves_no_file(engine, make_model, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey", n_galaxies=2)
    for i in range(2):
        (tmp_path / "survey" / f"{i}.png").write_bytes(b"")
    with pytest.raises(ImageError, match="not one of 2 images"):
        engine.predict.predict(catalog, make_model("tree"), save_loc=tmp_path / "p.csv", progress=False)
    assert not (tmp_path / "p.csv").exists()


def small_network(engine_name):
    """One convolution and a pooling, which compile in a few seconds."""
    if engine_name == "pytorch":
        from torch import nn

        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    import keras

    return keras.Sequential(
        [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    )


@pytest.mark.parametrize("views", [1, 4])
def test_a_compiled_network_predicts_the_same_and_leaves_the_model_alone(
    engine, engine_name, make_model, set_linear, catalog_path, views
):
    model = make_model("tree", encoder=small_network(engine_name))
    set_linear(model.head.linear, np.ones((4, 8), np.float32), np.zeros(4, np.float32))
    plain, compiled, again = (
        engine.predict.predict(
            catalog_path, model, views=views, batch_size=10, compile=asked, progress=False
        ).table
        for asked in (False, True, None)
    )
    pd.testing.assert_frame_equal(compiled, plain, rtol=1e-4)
    pd.testing.assert_frame_equal(again, plain)


def test_half_precision_is_near(engine, make_model, fit, catalog_path, tmp_path):
    model = fit(make_model("classification", learning_rate=1e-2), tmp_path)
    whole, half, again = (
        engine.predict.predict(catalog_path, model, precision=precision, progress=False).table.iloc[:, 1:]
        for precision in ("32-true", "bf16-mixed", "auto")
    )
    assert 0 < (whole - half).abs().max(axis=None) < 0.05
    pd.testing.assert_frame_equal(whole, again)


def test_bad_requests_are_refused_before_work(engine, make_model, catalog_path, tmp_path):
    model = make_model("tree")
    with pytest.raises(PredictionsError, match=r"\.xlsx"):
        engine.predict.predict(catalog_path, model, save_loc=tmp_path / "p.xlsx")
    with pytest.raises(ConfigError, match="n_samples"):
        engine.predict.predict(catalog_path, model, n_samples=0)
    with pytest.raises(ConfigError, match=r"precision must be one of .*, got 'half'"):
        engine.predict.predict(catalog_path, model, precision="half")
    with pytest.raises(ConfigError, match="batch_size"):
        engine.predict.predict(catalog_path, model, batch_size=0)
    with pytest.raises(CheckpointError, match="does not exist"):
        engine.predict.predict(catalog_path, tmp_path / "nothing")


def test_predicting_with_a_model_in_memory_leaves_it_as_it_was(
    engine, make_model, fit, catalog_path, tmp_path
):
    model = make_model("classification")
    engine.predict.predict(catalog_path, model, progress=False)
    fit(model, tmp_path)
    table = engine.predict.predict(catalog_path, model, progress=False).table
    assert np.isfinite(table.iloc[:, 1:].to_numpy()).all()


def test_weights_that_are_not_finite_give_an_error_not_a_table(engine, make_model, catalog_path, tmp_path):
    model = make_model("regression")
    model.head.set_target_statistics([np.finfo(np.float32).max, 0.0], [1.0, 1.0])
    model.head.target_mean = model.head.target_mean * 10
    with pytest.raises(NonFiniteError, match="galaxy-0"):
        engine.predict.predict(catalog_path, model, save_loc=tmp_path / "p.csv", progress=False)
    assert not (tmp_path / "p.csv").exists()


# -- ensembles --------------------------------------------------------------------------------------------


def columns_of(table, sample):
    return table[table["sample"] == sample].drop(columns="sample").reset_index(drop=True)


def test_an_ensemble_has_the_rows_of_each_member(engine, make_model, fit, catalog_path, tmp_path):
    trained = fit(make_model("tree", learning_rate=1e-2), tmp_path / "run")
    untrained = make_model("tree")
    both = engine.predict.predict(
        catalog_path, [tmp_path / "run" / "checkpoint", untrained], batch_size=7, progress=False
    ).table
    assert len(both) == 2 * 24
    for sample, member in enumerate((trained, untrained)):
        alone = engine.predict.predict(catalog_path, member, progress=False).table
        pd.testing.assert_frame_equal(columns_of(both, sample), alone, rtol=1e-4)


def test_samples_are_numbered_through_the_members(engine, make_model, catalog_path, tmp_path):
    models = [make_model("classification", dropout_prob=0.5) for _ in range(2)]
    predictions = engine.predict.predict(
        catalog_path, models, n_samples=3, save_loc=tmp_path / "p.parquet", progress=False
    )
    assert sorted(set(predictions.table["sample"])) == list(range(6))
    metadata = read_prediction_metadata(tmp_path / "p.parquet")
    assert (metadata["n_samples"], metadata["n_members"]) == (6, 2)


def test_members_that_read_images_differently_each_have_their_own(
    engine, make_model, write_galaxies, tmp_path
):
    catalog = write_galaxies(tmp_path / "survey")
    for broken in (3, 4, 5, 9):  # at three a batch, 3 to 5 leave a batch of nothing
        (tmp_path / "survey" / f"{broken}.png").write_bytes(b"")
    small, large = make_model("tree"), make_model("tree", preprocessing={"image_size_pix": 48})
    result = engine.predict.predict(catalog, [small, large], batch_size=3, progress=False)
    assert result.failures["id_str"].tolist() == [f"galaxy-{i}" for i in (3, 4, 5, 9)]
    for sample, member in enumerate((small, large)):
        alone = engine.predict.predict(catalog, member, progress=False).table
        pd.testing.assert_frame_equal(columns_of(result.table, sample), alone, rtol=1e-4)


def test_members_of_different_tasks_are_refused(engine, make_model, catalog_path):
    tree = make_model("tree")
    with pytest.raises(ConfigError, match="the first predicts a tree, model 2 a regression"):
        engine.predict.predict(catalog_path, [tree, make_model("regression")])
    other = make_model("regression", label_cols=["flux", "axis_ratio"])
    with pytest.raises(ConfigError, match="their order differs"):
        engine.predict.predict(catalog_path, [make_model("regression"), other])
    with pytest.raises(ConfigError, match="empty list"):
        engine.predict.predict(catalog_path, [])
