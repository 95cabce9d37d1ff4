"""Features over catalogs, and heads fitted to them, in every engine."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.errors import ConfigError, EncoderError, ImageError, LabelError, PredictionsError
from zoobot.shared.features.tables import read_features
from zoobot.shared.predicting.part_run import merge_parts


@pytest.fixture
def represented(engine, make_model, catalog_path):
    def run(kind, **options):
        model = make_model(kind, **options)
        return model, engine.represent.represent(catalog_path, model, batch_size=8, progress=False)

    return run


def test_features_are_those_that_predictions_come_from(engine, represented, catalog_path):
    model, found = represented("tree")
    assert found.ids == [f"galaxy-{i}" for i in range(24)]
    assert found.features.shape == (24, model.encoder.num_features)
    assert found.features.dtype == np.float32
    labels = np.tile([18, 2, 0, 0], (24, 1)).astype(float)
    labels[::2] = [1, 19, 5, 14]
    engine.represent.fit_head(found.features, labels, model, decay=0.1)
    table = engine.predict.predict(catalog_path, model, progress=False).table
    predicted = engine.represent.predict_features(found.features, model)
    assert predicted.shape == (1, 24, 4)
    np.testing.assert_allclose(predicted[0], table.iloc[:, 1:], rtol=1e-4)
    assert np.ptp(predicted[0, :, 0]) > 1


def test_features_are_no_activations_of_a_model_that_keeps_these(engine, represented, catalog_path):
    model, found = represented("classification", n_blocks=1, activation_views=1)
    engine.represent.fit_head(found.features, np.arange(24)[:, None] % 2, model, decay=0.5)
    table = engine.predict.predict(catalog_path, model, progress=False).table
    predicted = engine.represent.predict_features(found.features, model)
    np.testing.assert_allclose(predicted[0], table.iloc[:, 1:], atol=1e-5)


def test_a_saved_model_represents_the_same(engine, represented, catalog_path, tmp_path):
    model, found = represented("classification")
    engine.checkpoint.save(model, tmp_path / "c")
    again = engine.represent.represent(catalog_path, tmp_path / "c", batch_size=5, progress=False)
    np.testing.assert_allclose(again.features, found.features, rtol=1e-4, atol=1e-5)
    with pytest.raises(EncoderError):
        engine.represent.represent(catalog_path, tmp_path / "nothing", progress=False)


def test_dropout_samples_of_features_differ_and_are_seeded(engine, represented):
    model, found = represented("classification", dropout_prob=0.5)
    engine.represent.fit_head(found.features, np.arange(24)[:, None] % 2, model, decay=0.5)
    first, again, other = (
        engine.represent.predict_features(found.features, model, n_samples=3, seed=s) for s in (1, 1, 2)
    )
    assert first.shape == (3, 24, 2)
    assert (first.std(axis=0) > 0).any()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("kind", ["classification", "multi-label", "regression", "tree"])
def test_a_head_is_fitted_anew_whatever_it_knew(engine, represented, kind):
    model, found = represented(kind)
    rng = np.random.default_rng(0)
    columns = {"classification": 1, "multi-label": 2, "regression": 2, "tree": 4}[kind]
    first, second = (rng.integers(0, 2, (24, columns)).astype(float) for _ in range(2))
    engine.represent.fit_head(found.features, first, model, decay=0.1)
    engine.represent.fit_head(found.features, second, model, decay=0.1)
    after_another = engine.represent.predict_features(found.features, model)
    engine.represent.fit_head(found.features, second, model, decay=0.1)
    np.testing.assert_allclose(
        engine.represent.predict_features(found.features, model), after_another, rtol=1e-5, atol=1e-6
    )


def test_cross_validation_chooses_the_decay_and_the_head_learns(engine, represented):
    model, found = represented("classification")
    labels = np.arange(24)[:, None] % 2
    decay = engine.represent.fit_head(found.features, labels, model, seed=1)
    assert decay > 0
    predicted = engine.represent.predict_features(found.features, model)[0]
    assert (predicted.argmax(axis=1) == labels[:, 0]).mean() > 0.9


def test_a_galaxy_of_twice_the_weight_counts_as_two(engine, represented):
    model, found = represented("classification")
    labels = np.random.default_rng(0).integers(0, 2, (24, 1)).astype(float)
    alike = np.tile(found.features, (2, 1)), np.tile(labels, (2, 1))
    predicted = []
    for weights in (None, np.r_[np.full(24, 2.0), np.zeros(24)]):
        engine.represent.fit_head(*alike, model, decay=0.1, weights=weights)
        predicted.append(engine.represent.predict_features(found.features, model)[0])
    np.testing.assert_allclose(predicted[1], predicted[0], atol=2e-3)
    engine.represent.fit_head(*alike, model, decay=0.1, weights=np.arange(48) % 24 < 4)
    assert np.abs(engine.represent.predict_features(found.features, model)[0] - predicted[0]).max() > 0.01
    with pytest.raises(ConfigError, match="weights must be one number from 0 for each of 48 galaxies"):
        engine.represent.fit_head(*alike, model, decay=0.1, weights=-np.ones(48))


def test_wrong_labels_are_refused(engine, represented):
    model, found = represented("classification")
    with pytest.raises(LabelError, match="whole numbers"):
        engine.represent.fit_head(found.features, np.full((24, 1), 7.0), model)


def test_bad_images_are_failures(engine, make_model, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey", n_galaxies=6)
    (tmp_path / "survey" / "2.png").write_bytes(b"")
    model = make_model("tree")
    found = engine.represent.represent(catalog, model, progress=False)
    assert found.ids == [f"galaxy-{i}" for i in (0, 1, 3, 4, 5)]
    assert len(found.features) == 5
    assert found.failures["id_str"].tolist() == ["galaxy-2"]
    for i in range(6):
        (tmp_path / "survey" / f"{i}.png").write_bytes(b"")
    with pytest.raises(ImageError, match="not one of 6 images"):
        engine.represent.represent(catalog, model, progress=False)


def test_a_name_is_an_encoder_and_a_model_gives_what_its_encoder_does(engine, make_model, catalog_path):
    model = make_model("tree")
    of_model, of_encoder = (
        engine.represent.represent(catalog_path, one, progress=False) for one in (model, model.encoder)
    )
    np.testing.assert_array_equal(of_model.features, of_encoder.features)
    task = of_model.origin["task"]
    assert (task["kind"], task["block"]) == ("features", model.encoder.blocks[-1].name)
    assert of_model.origin["preprocessing"] == model.preprocessing.to_config()


@pytest.mark.parametrize("save_loc", ["parts", "table.parquet", "table.csv", "table.hdf5"])
def test_features_that_were_written_are_those_in_memory(
    engine, represented, catalog_path, tmp_path, save_loc
):
    model, found = represented("tree")
    options = {"part_rows": 10} if save_loc == "parts" else {}
    written = engine.represent.represent(
        catalog_path, model, save_loc=tmp_path / save_loc, batch_size=8, progress=False, **options
    )
    read = read_features(tmp_path / save_loc)
    for table in (written, read):
        assert table.ids == found.ids
        assert table.features.dtype == np.float32
        np.testing.assert_allclose(table.features, found.features, rtol=1e-4, atol=1e-5)
    if save_loc != "table.csv":
        assert read.origin["task"] == found.origin["task"]


def test_half_precision_costs_digits_and_saves_space(engine, represented, catalog_path, tmp_path):
    model, found = represented("tree")
    for dtype in ("float16", "float32"):
        engine.represent.represent(
            catalog_path, model, save_loc=tmp_path / dtype, dtype=dtype, progress=False
        )
    half = read_features(tmp_path / "float16").features
    np.testing.assert_array_equal(half, half.astype(np.float16))
    np.testing.assert_allclose(half, found.features, rtol=2e-3, atol=1e-6)
    sizes = [(tmp_path / d / "part-000000.parquet").stat().st_size for d in ("float16", "float32")]
    assert sizes[0] < sizes[1]
    merge_parts(tmp_path / "float16", tmp_path / "merged.parquet")
    assert str(pd.read_parquet(tmp_path / "merged.parquet").dtypes.iloc[-1]) == "float16"
    merge_parts(tmp_path / "float16", tmp_path / "merged.csv")
    np.testing.assert_array_equal(read_features(tmp_path / "merged.csv").features, half)
    with pytest.raises(PredictionsError, match="float16"):
        engine.represent.represent(
            catalog_path, model, save_loc=tmp_path / "t.csv", dtype="float16", progress=False
        )


def test_a_run_that_was_cut_up_gives_the_same_bytes_and_no_other_features_join(
    engine, represented, catalog_path, tmp_path
):
    model, _ = represented("tree")

    def run(folder, **options):
        options = {"part_rows": 10, "batch_size": 4, "progress": False} | options
        engine.represent.represent(catalog_path, model, save_loc=tmp_path / folder, **options)
        return {path.name: path.read_bytes() for path in (tmp_path / folder).glob("*.parquet")}

    whole = run("whole")
    assert len(whole) == 3
    (tmp_path / "whole" / "part-000001.parquet").unlink()
    assert run("whole") == whole
    run("shards", shard="2/2")
    with pytest.raises(PredictionsError, match="lacks 2 of 3 parts"):
        read_features(tmp_path / "shards")
    assert run("shards", shard="1/2") == whole
    with pytest.raises(PredictionsError, match=r"task\.block"):
        run("whole", block=0)
    with pytest.raises(PredictionsError, match=r"task\.dtype"):
        run("whole", dtype="float16")


def test_blocks_are_asked_for_by_name_or_number(engine, make_model, catalog_path):
    model = make_model("tree")
    blocks = [block.name for block in model.encoder.blocks]

    def features(block):
        return engine.represent.represent(catalog_path, model, block=block, progress=False).features

    np.testing.assert_array_equal(features(blocks[1]), features(1))
    np.testing.assert_array_equal(features(str(1 - len(blocks))), features(1))
    np.testing.assert_array_equal(features(-1), features(None))
    assert features(0).shape[1] < features(None).shape[1]
    for wrong in ("nonsense", len(blocks), -1 - len(blocks), "1.5"):
        with pytest.raises(ConfigError, match="by name or number: 0 "):
            features(wrong)
