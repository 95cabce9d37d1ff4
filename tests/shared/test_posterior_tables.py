"""Summaries of predictions: the numbers of `posteriors`, blank where a question is unlikely, at any size."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared import posteriors
from zoobot.shared import predictions as prediction_samples
from zoobot.shared.errors import ConfigError, PredictionsError
from zoobot.shared.predicting.posterior_tables import (
    full_table,
    read_concentrations,
    summary_table,
    write_posterior_table,
)
from zoobot.shared.predictions import read_prediction_metadata, read_predictions
from zoobot.shared.schemas import Schema
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.tasks import RegressionTask, tree_task

SCHEMA = Schema.from_pairs(
    {"shape": ["smooth", "featured"], "ring": ["yes", "no"]}, {"ring": "shape_featured"}, name="tiny"
)
COLUMNS = tree_task(SCHEMA).output_columns


def draw(*shape):
    return (1 + 50 * np.random.default_rng(0).beta(0.5, 1, (*shape, 4))).astype(np.float32).astype(float)


def write(path, alpha, *, batch=7, task=None):
    """As `predict` writes them: batch by batch, each sample of a batch in turn."""
    samples = alpha.ndim == 3
    metadata = {"task": (task or tree_task(SCHEMA)).to_config()}
    with PredictionWriter(path, COLUMNS, samples=samples, metadata=metadata) as writer:
        mixture = alpha if samples else alpha[None]
        for start in range(0, mixture.shape[1], batch):
            part = mixture[:, start : start + batch]
            ids = [f"galaxy {start + i}" for i in range(part.shape[1])]
            for number, values in enumerate(part):
                writer.write(ids, values, sample=number if samples else None)
    return path


def test_a_summary_shows_what_is_likely_to_be_asked():
    alpha = np.array([[1.0, 9.0, 3.0, 1.0], [9.0, 1.0, 3.0, 1.0]])
    table = summary_table(alpha, SCHEMA, level=0.8)
    assert table["ring_asked"].round(6).tolist() == [0.9, 0.1]
    assert table["shape_featured_fraction"].round(6).tolist() == [0.9, 0.1]
    assert table["ring_yes_fraction"][0] == pytest.approx(0.75)
    lower, upper = posteriors.fraction_intervals(alpha, SCHEMA, level=0.8)
    assert table["ring_yes_fraction_lower"][0] == lower[0, 2]
    assert table["ring_yes_fraction_upper"][0] == upper[0, 2]
    assert table.loc[1, [c for c in table if c.startswith("ring_") and "fraction" in c]].isna().all()
    assert summary_table(alpha, SCHEMA, threshold=0.05).notna().all(axis=None)


def test_a_full_table_has_everything_and_the_concentrations():
    alpha = draw(5)
    table = full_table(alpha, SCHEMA)
    assert table.notna().all(axis=None)
    np.testing.assert_array_equal(table[COLUMNS], alpha)
    mixture = full_table(draw(2, 5), SCHEMA)
    assert [c for c in mixture if c.endswith("concentration_1")] == [f"{name}_1" for name in COLUMNS]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".hdf5"])
@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("rows", [1, 10, 1000])
def test_predictions_are_read_back_a_part_at_a_time(tmp_path, suffix, samples, rows):
    alpha = draw(samples, 40) if samples else draw(40)
    path = write(tmp_path / f"p{suffix}", alpha)
    parts = list(read_concentrations(path, SCHEMA, rows=rows))
    assert [galaxy for ids, _ in parts for galaxy in ids] == [f"galaxy {i}" for i in range(40)]
    np.testing.assert_array_equal(
        np.concatenate([a for _, a in parts], axis=1), posteriors.as_mixture(alpha, SCHEMA)
    )
    assert max(a.shape[1] for _, a in parts) <= max(rows, 7) + 7


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".hdf5"])
@pytest.mark.parametrize("full", [False, True])
def test_tables_on_disk_are_those_in_memory(tmp_path, monkeypatch, suffix, full):
    monkeypatch.setattr(prediction_samples, "_ROWS_AT_ONCE", 11)
    alpha = draw(2, 30)
    path = write_posterior_table(write(tmp_path / "p.parquet", alpha), tmp_path / f"s{suffix}", full=full)
    table = read_predictions(path)
    expected = (full_table if full else summary_table)(alpha, SCHEMA)
    assert table["id_str"].tolist() == [f"galaxy {i}" for i in range(30)]
    pd.testing.assert_frame_equal(table.drop(columns="id_str"), expected.astype(np.float32))
    if suffix == ".csv":
        assert "nan" not in path.read_text()
    else:
        assert read_prediction_metadata(path)["level"] == 0.9


def test_csv_predictions_need_the_schema(tmp_path):
    path = write(tmp_path / "p.csv", draw(3))
    with pytest.raises(PredictionsError, match="give the schema"):
        write_posterior_table(path, tmp_path / "s.csv")
    write_posterior_table(path, tmp_path / "s.csv", schema=SCHEMA)
    assert len(read_predictions(tmp_path / "s.csv")) == 3


def test_what_can_not_be_summarised_is_said(tmp_path):
    path = write(tmp_path / "p.parquet", draw(3), task=RegressionTask(num_targets=4))
    with pytest.raises(PredictionsError, match="is of a regression task"):
        write_posterior_table(path, tmp_path / "s.csv")
    other = Schema.from_pairs({"bar": ["yes", "no"]})
    with pytest.raises(PredictionsError, match=r"lacks .*bar_yes_concentration"):
        write_posterior_table(path, tmp_path / "s.csv", schema=other)
    with pytest.raises(ConfigError, match="threshold"):
        summary_table(draw(1), SCHEMA, threshold=2.0)
    with PredictionWriter(tmp_path / "bad.csv", COLUMNS, samples=True) as writer:
        writer.write(["a", "b"], draw(2), sample=0)
        writer.write(["b", "a"], draw(2), sample=1)
    with pytest.raises(PredictionsError, match="same 2 samples of every galaxy"):
        list(read_concentrations(tmp_path / "bad.csv", SCHEMA))
    assert not (tmp_path / "s.csv").exists()


def test_no_galaxies(tmp_path):
    path = write_posterior_table(write(tmp_path / "p.parquet", draw(0)), tmp_path / "s.parquet")
    assert len(read_predictions(path)) == 0
