"""What predictions hold beside the numbers, in every engine, in memory, in tables, in parts and exported."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.conformal import fit_conformal
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError
from zoobot.shared.predicting.part_run import merge_parts
from zoobot.shared.predictions import read_prediction_metadata, read_predictions, read_samples


@pytest.fixture
def make_known(make_model, set_linear):
    """A model whose head has learnt something, and that knows its errors on 40 galaxies."""

    def make(kind):
        model = make_model(kind)
        outputs, width = model.task.num_outputs, model.encoder.num_features
        rng = np.random.default_rng(0)
        set_linear(model.head.linear, rng.normal(size=(outputs, width)).astype("f4"), np.zeros(outputs, "f4"))
        predicted, truth = rng.random((40, outputs)), rng.integers(0, 2, (40, model.task.num_label_cols))
        predicted = predicted * 9 + 1 if kind == "tree" else predicted / predicted.sum(1, keepdims=True)
        model.conformal = fit_conformal(
            model.task, predicted, truth * 3 if kind == "tree" else truth, model.preprocessing
        )
        return model

    return make


@pytest.fixture
def catalog(write_galaxies, tmp_path):
    """Galaxies with positions, a flag, numbers of 18 digits and a text, as FITS tables and CSV have them."""
    path = write_galaxies(tmp_path / "survey", n_galaxies=7)
    table = pd.read_csv(path, dtype={"id_str": str})
    table["ra"] = 150 + np.arange(7) / 7
    table["z"] = [0.1, np.nan, *[0.25] * 5]
    table["objid"] = 587722981742084096 + np.arange(7)
    table["field name"] = ["007", "", *"abcde"]
    table.to_csv(path, index=False)
    return path


CARRIED = ["ra", "z", "objid", "field name"]


@pytest.mark.parametrize("kind", ["classification", "multi-label", "regression", "tree"])
def test_every_way_gives_the_same_rows(kind, engine, make_known, catalog, tmp_path):
    model = make_known(kind)
    asked = {"intervals": (68, 90), "columns": CARRIED, "class_column": True, "progress": False}
    table = engine.predict.predict(catalog, model, **asked).table
    plain = engine.predict.predict(catalog, model, progress=False).table
    assert list(plain)[1:] == model.task.output_columns
    pd.testing.assert_frame_equal(table[list(plain)], plain)
    values = plain.iloc[:, 1:].to_numpy(np.float64)
    for level in (0.68, 0.9):
        names = [name for name, _, _ in model.task.interval_columns(f"{100 * level:g}")]
        for name, column in zip(
            names, model.task.intervals(values, model.conformal.thresholds(level)), strict=True
        ):
            if table[name].dtype.kind in "if":
                np.testing.assert_allclose(table[name], column, rtol=1e-6, atol=1e-7)
            else:
                assert table[name].tolist() == column.tolist()
    if kind == "classification":
        assert (
            table["edge_on_class"].tolist() == np.array(["round", "edge-on"])[values.argmax(axis=1)].tolist()
        )
        np.testing.assert_array_equal(table["edge_on_class_probability"], values.max(axis=1).astype("f4"))
    else:
        assert not any("_class" in name for name in table)
    assert table["objid"].tolist() == [587722981742084096 + i for i in range(7)]
    assert table["field name"].tolist() == ["007", "", *"abcde"]
    assert (table["ra"].dtype, table["z"].isna().sum()) == (np.float64, 1)
    for suffix in (".parquet", ".fits", ".vot"):
        path = tmp_path / f"p{suffix}"
        engine.predict.predict(catalog, model, save_loc=path, **asked)
        pd.testing.assert_frame_equal(read_predictions(path), table, check_dtype=False)
    engine.predict.predict(catalog, model, save_loc=tmp_path / "parts", part_rows=3, **asked)
    merge_parts(tmp_path / "parts", tmp_path / "merged.hdf5")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "merged.hdf5"), table, check_dtype=False)
    assert read_prediction_metadata(tmp_path / "merged.hdf5")["intervals"]["levels"] == ["68", "90"]
    with pytest.raises(PredictionsError, match=r"options\.intervals\.90.*there"):
        engine.predict.predict(
            catalog, model, save_loc=tmp_path / "parts", part_rows=3, **{**asked, "intervals": 68}
        )


def test_errors_travel_in_checkpoints(engine, make_known, catalog, tmp_path):
    model = make_known("regression")
    folder = engine.checkpoint.save(model, tmp_path / "checkpoint")
    asked = {"intervals": 90, "progress": False}
    table = engine.predict.predict(catalog, model, **asked).table
    pd.testing.assert_frame_equal(engine.predict.predict(catalog, folder, **asked).table, table)


def test_errors_of_another_calibration_give_no_intervals(engine, make_known, catalog, tmp_path):
    model = make_known("classification")
    model.head.set_calibration([0.7])
    model.conformal = replace(model.conformal, factors=(0.7,))
    model = engine.checkpoint.load(engine.checkpoint.save(model, tmp_path / "checkpoint"))
    asked = {"intervals": 90, "progress": False}
    assert len(engine.predict.predict(catalog, model, **asked).table) == 7
    model.head.set_calibration([1.4])
    with pytest.raises(ConfigError, match="of another calibration"):
        engine.predict.predict(catalog, model, **asked)


def test_plain_names_are_read_back_as_the_tasks_own(engine, make_known, catalog, tmp_path):
    model = make_known("tree")
    asked = {"columns": CARRIED, "names": "plain", "progress": False}
    for suffix in (".csv", ".fits"):
        path = tmp_path / f"p{suffix}"
        table = engine.predict.predict(catalog, model, save_loc=path, **asked).table
        assert all(name.isidentifier() and name.isascii() for name in table)
        assert "shape_edge_on_concentration" in table
        ((ids, values),) = read_samples(path, model.task.output_columns)
        assert (len(ids), values.shape) == (7, (1, 7, 4))
    names = read_prediction_metadata(tmp_path / "p.fits")["names"]
    assert names["shape_edge_on_concentration"] == "shape_edge-on_concentration"
    assert names["field_name"] == "field name"


def test_what_can_not_be_is_refused_before_work(engine, make_known, make_model, catalog):
    model = make_known("classification")

    def refused(error, words, model=model, **asked):
        with pytest.raises(error, match=words):
            engine.predict.predict(catalog, model, progress=False, **asked)

    refused(ConfigError, "does not say how far it was off", make_model("classification"), intervals=90)
    refused(ConfigError, "99% intervals need 99 validation galaxies at least, .* known of 40", intervals=99)
    refused(ConfigError, "in percent, as 90", intervals=120)
    refused(ConfigError, "intervals are of one model", [model, model], intervals=90)
    refused(ConfigError, "intervals are of one model", intervals=90, n_samples=2)
    refused(ConfigError, "of other pixels .views 1, now 2", intervals=90, views=2)
    refused(ConfigError, "of their own called .'id_str'", columns=["id_str"])
    refused(ConfigError, "must be a list of names", columns="ra")
    refused(ConfigError, "carried once", columns=["ra", "ra"])
    refused(ConfigError, "names must be one of", names="short")
    refused(CatalogError, "did you mean 'ra'", columns=["RA"])


def test_texts_that_a_format_can_not_hold_are_refused_before_work(
    engine, make_model, catalog, tmp_path, monkeypatch
):
    model = make_model("classification", class_names=["round", "é"])
    asked = {"class_column": True, "names": "plain", "progress": False}
    monkeypatch.setattr("zoobot.shared.predicting.run.with_bar", None)  # which predicts
    with pytest.raises(PredictionsError, match="can't hold the text in column 'edge_on_class' 'é'"):
        engine.predict.predict(catalog, model, save_loc=tmp_path / "p.fits", **asked)
    table = pd.read_csv(catalog, dtype=str).assign(note=["a", "b ", *"cdefg"])
    table.to_csv(catalog, index=False)
    for suffix in (".fits", ".vot"):
        with pytest.raises(PredictionsError, match=r"can't hold the text.* 'b '"):
            engine.predict.predict(
                catalog, make_model("regression"), save_loc=tmp_path / f"p{suffix}", columns=["note"]
            )
    monkeypatch.undo()
    assert list(tmp_path.glob("*p.*")) == []
    engine.predict.predict(catalog, model, save_loc=tmp_path / "p.vot", **asked)
    assert set(read_predictions(tmp_path / "p.vot")["edge_on_class"]) <= {"round", "é"}


def test_an_ensemble_names_the_class_of_its_mean(engine, make_known, catalog):
    model = make_known("classification")
    table = engine.predict.predict(catalog, [model, model], class_column=True, progress=False).table
    alone = engine.predict.predict(catalog, model, class_column=True, progress=False).table
    for _, rows in table.groupby("sample"):
        assert rows["edge_on_class"].tolist() == alone["edge_on_class"].tolist()


def test_a_folder_that_was_begun_without_classes_goes_on_so(engine, make_known, catalog, tmp_path, caplog):
    model = make_known("classification")
    asked = {"save_loc": tmp_path / "parts", "part_rows": 3, "progress": False}
    engine.predict.predict(catalog, model, **asked)
    before = (tmp_path / "parts" / "part-000001.parquet").read_bytes()
    (tmp_path / "parts" / "part-000001.parquet").unlink()
    with caplog.at_level("INFO"):
        found = engine.predict.predict(catalog, model, class_column=True, **asked)
    assert "was begun without a column of the class" in caplog.text
    assert (tmp_path / "parts" / "part-000001.parquet").read_bytes() == before
    assert list(found.table)[1:] == model.task.output_columns
