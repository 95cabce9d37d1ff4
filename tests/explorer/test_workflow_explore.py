"""From the results of runs to a page: which galaxies, whose images, which labels."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest

from zoobot import workflow
from zoobot.cli import main
from zoobot.options import ExploreOptions, FinetuneOptions, PredictOptions, RepresentOptions
from zoobot.shared import schemas
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.tasks import ClassificationTask, RegressionTask, tree_task

QUIET = {"num_workers": 1, "progress": False}
TINY = {
    "encoder": "resnet10t",
    "image_size_pix": 32,
    "max_epochs": 1,
    "batch_size": 8,
    "accelerator": "cpu",
    "calibrate": False,
    **QUIET,
}


def explore(results, **changes):
    return workflow.explore(ExploreOptions(**{"results": results, **QUIET} | changes))


def data_of(result):
    text = result.save_loc.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])


def column(data, name):
    (found,) = (one for one in data["columns"] if one["name"] == name)
    return np.frombuffer(base64.b64decode(found["values"]), "<f4")


def words(data, name):
    (found,) = (one for one in data["texts"] if one["name"] == name)
    return [found["words"][code] for code in np.frombuffer(base64.b64decode(found["codes"]), "<i4")]


@pytest.fixture
def galaxies(tiny_survey):
    return pd.read_csv(tiny_survey, dtype={"id_str": str})


@pytest.fixture
def write_table(galaxies, tmp_path):
    """A table of predictions, as `predict` writes it, of the galaxies of the survey."""

    def write(task, values, name="new.parquet", ids=None, **facts):
        metadata = {"task": task.to_config(), "preprocessing": Preprocessing(image_size_pix=32).to_config()}
        with PredictionWriter(tmp_path / name, task.output_columns, metadata=metadata | facts) as writer:
            writer.write(list(galaxies["id_str"]) if ids is None else ids, values)
        return tmp_path / name

    return write


@pytest.fixture
def tree_table(write_table, galaxies):
    task = tree_task("gz_decals_dr5")
    values = np.random.default_rng(4).uniform(1, 50, (len(galaxies), len(task.output_columns)))
    return write_table(task, values)


def test_a_run_and_its_predictions_say_all_by_themselves(
    tiny_survey, galaxies, engine_name, tmp_path, undrawn
):
    run, parts, features = tmp_path / "run", tmp_path / "parts", tmp_path / "features.parquet"
    options = {"backend": engine_name, **QUIET, "batch_size": 8}
    tree = {"task": "tree", "schema": "gz_decals_dr5"}
    with undrawn():
        workflow.finetune(FinetuneOptions(catalog=tiny_survey, save_dir=run, **tree, **TINY | options))
    result = explore(run, encode=True, neighbours=3, **options)
    assert result.save_loc == tmp_path / "run.html"
    data = data_of(result)
    table = galaxies.set_index("id_str").loc[data["ids"]]
    assert data["ids"] == pd.read_parquet(run / "predictions.parquet")["id_str"].tolist()
    assert words(data, "file_loc") == table["file_loc"].tolist()
    assert all(data["pictures"])
    check_votes_and_privacy(result, table, tmp_path)
    rows = np.frombuffer(base64.b64decode(data["neighbours"]["rows"]), "<i4").reshape(-1, 3)
    assert (rows >= 0).all()
    assert (rows != np.arange(len(rows))[:, None]).all()

    workflow.predict(
        PredictOptions(checkpoint=run, catalog=tiny_survey, save_loc=parts, part_rows=10, **options)
    )
    workflow.represent(RepresentOptions(checkpoint=run, catalog=tiny_survey, save_loc=features, **options))
    result = explore(parts, features=features, neighbours=5)
    assert result.save_loc == tmp_path / "parts.html"  # not inside, where tables are read from
    data = data_of(result)
    assert data["ids"] == galaxies["id_str"].tolist()
    assert len(base64.b64decode(data["neighbours"]["rows"])) == 4 * 5 * len(galaxies)
    check_votes_and_privacy(result, galaxies, tmp_path)


def check_votes_and_privacy(result, table, folder):
    """The page shows the votes of its galaxies, and does not say where this machine keeps its files."""
    first, *_ = schemas.get("gz_decals_dr5").questions
    votes = table[first.label_cols].to_numpy(float)
    shown = column(data_of(result), f"{first.label_cols[0]}_label_fraction")
    np.testing.assert_allclose(shown, votes[:, 0] / votes.sum(axis=1), rtol=1e-6)
    assert str(folder) not in result.save_loc.read_text(encoding="utf-8")


def test_a_csv_needs_the_model_and_the_catalog(tiny_survey, tree_table, tmp_path):
    table = pd.read_parquet(tree_table)
    table.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(PredictionsError, match="--checkpoint"):
        explore(tmp_path / "new.csv")


def test_a_table_without_a_catalog_has_no_pictures_and_says_so(tree_table, galaxies, caplog):
    with caplog.at_level("WARNING", "zoobot"):
        result = explore(tree_table)
    assert "no catalog" in caplog.text
    data = data_of(result)
    assert data["pictures"] == [None] * len(galaxies)
    assert data["reasons"]["words"] == ["nothing says where its image is"]
    assert result.failures.empty
    with pytest.raises(CatalogError, match="--catalog"):
        explore(tree_table, columns=["ra"], overwrite=True)


def test_columns_of_the_catalog_and_a_selection(tree_table, tiny_survey, galaxies):
    kind = galaxies["label_name"].iloc[0]
    data = data_of(
        explore(tree_table, catalog=tiny_survey, columns=["ra", "label_name"], select=f"label_name={kind}")
    )
    chosen = galaxies[galaxies["label_name"] == kind]
    assert data["ids"] == chosen["id_str"].tolist()
    np.testing.assert_allclose(column(data, "ra"), chosen["ra"], rtol=1e-6)
    assert set(words(data, "label_name")) == {kind}


def test_a_column_that_is_absent_is_named(tree_table, tiny_survey):
    with pytest.raises(CatalogError, match="redshift"):
        explore(tree_table, catalog=tiny_survey, columns=["redshift"])


def test_of_many_galaxies_a_random_sample_in_order(tree_table, tiny_survey, galaxies):
    result = explore(tree_table, catalog=tiny_survey, n=7)
    data = data_of(result)
    places = [galaxies["id_str"].tolist().index(galaxy) for galaxy in data["ids"]]
    assert (result.galaxies, result.predicted) == (7, len(galaxies))
    assert places == sorted(places)
    assert places != list(range(7))
    again = data_of(explore(tree_table, catalog=tiny_survey, n=7, overwrite=True))
    assert again["ids"] == data["ids"]


def test_images_that_are_missing_are_told_of(write_table, galaxies, tiny_survey, tmp_path):
    table = galaxies.copy()
    table["file_loc"] = [str(tiny_survey.parent / name) for name in table["file_loc"]]
    table.loc[1, "file_loc"] = str(tmp_path / "gone.jpg")
    table.drop(index=2).to_csv(tmp_path / "catalog.csv", index=False)
    task = RegressionTask(label_cols=("dec",))
    predictions = write_table(task, galaxies["dec"].to_numpy()[:, None] + 1)
    result = explore(predictions, catalog=tmp_path / "catalog.csv", save_loc=tmp_path / "page.html")
    data = data_of(result)
    assert [row for row, one in enumerate(data["pictures"]) if one is None] == [1, 2]
    assert result.failures["id_str"].tolist() == [galaxies["id_str"][1]]
    assert (tmp_path / "page.failures.csv").is_file()
    error = column(data, "dec_label_difference")
    np.testing.assert_allclose(np.delete(error, 2), 1, rtol=1e-4)
    assert np.isnan(error[2])


def test_labels_that_cannot_be_right_are_left_out_with_a_warning(write_table, galaxies, tmp_path, caplog):
    task = ClassificationTask(class_names=("a", "b"), label_cols=("label_name",))
    predictions = write_table(task, np.full((len(galaxies), 2), 0.5))
    galaxies.to_csv(tmp_path / "catalog.csv", index=False)
    with caplog.at_level("WARNING", "zoobot"):
        data = data_of(explore(predictions, catalog=tmp_path / "catalog.csv", images=False))
    assert "No labels are shown" in caplog.text
    assert [text["name"] for text in data["texts"]] == ["predicted_class", "file_loc"]


def test_some_galaxies_may_have_no_label(write_table, galaxies, tmp_path):
    names = tuple(sorted(set(galaxies["label_name"])))
    task = ClassificationTask(class_names=names, label_cols=("label_name",))
    predictions = write_table(task, np.full((len(galaxies), len(names)), 1 / len(names)))
    expected = galaxies["label_name"].tolist()
    galaxies.loc[3, "label_name"] = None
    galaxies.to_csv(tmp_path / "catalog.csv", index=False)
    data = data_of(explore(predictions, catalog=tmp_path / "catalog.csv", images=False))
    assert words(data, "label") == [*expected[:3], "", *expected[4:]]


def test_nothing_is_replaced_without_a_word(tree_table, tmp_path):
    (tmp_path / "new.html").write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        explore(tree_table)
    assert (tmp_path / "new.html").read_text() == "mine"
    explore(tree_table, overwrite=True)
    assert "mine" not in (tmp_path / "new.html").read_text(encoding="utf-8")[:99]


@pytest.mark.parametrize(
    ("changes", "error", "words_of_it"),
    [
        ({"results": "no/such/results"}, PredictionsError, "no results at"),
        ({"save_loc": "page.txt"}, ConfigError, "must end in .html"),
        ({"encode": True, "features": "f.parquet"}, ConfigError, "not both"),
        ({"encode": True}, ConfigError, "--checkpoint"),
    ],
)
def test_what_cannot_work_is_refused(tree_table, changes, error, words_of_it):
    with pytest.raises(error, match=words_of_it):
        explore(**{"results": tree_table} | changes)


def test_a_folder_of_other_things_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match=r"neither predictions\.parquet"):
        explore(tmp_path)


def test_features_of_other_galaxies_are_refused(tree_table, tmp_path):
    pd.DataFrame({"id_str": ["other"], "f0": [1.0]}).to_csv(tmp_path / "features.csv", index=False)
    with pytest.raises(PredictionsError, match="of none of the"):
        explore(tree_table, features=tmp_path / "features.csv")


def test_the_command_line_says_what_it_made(tree_table, tiny_survey, capsys):
    words = ["explore", str(tree_table), "--catalog", str(tiny_survey), "--no-progress", "--n", "5"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "5 galaxies (a random sample of 24)" in said
    assert "new.html" in said


def test_a_catalog_of_other_galaxies_is_refused(tree_table, galaxies, tmp_path):
    galaxies["id_str"] = [f"other-{galaxy}" for galaxy in galaxies["id_str"]]
    galaxies.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(CatalogError, match="has none of the 24 galaxies"):
        explore(tree_table, catalog=tmp_path / "other.csv")


def test_predictions_that_cannot_be_used_are_told_of(tree_table, tiny_survey, caplog, tmp_path):
    import pyarrow.parquet as parquet

    table = parquet.read_table(tree_table)
    values = table.to_pandas()
    values.iloc[1, 1:] = np.nan
    values.iloc[2, 3] = -1.0
    frame = type(table).from_pandas(values, preserve_index=False)
    parquet.write_table(frame.replace_schema_metadata(table.schema.metadata), tree_table)
    with caplog.at_level("WARNING", "zoobot"):
        data = data_of(explore(tree_table, catalog=tiny_survey, heading="<b>mine"))
    assert "predictions of 2 galaxies can't be used" in caplog.text
    assert data["title"] == "<b>mine"
    first = column(data, f"{schemas.get('gz_decals_dr5').label_cols[0]}_fraction")
    assert np.flatnonzero(np.isnan(first)).tolist() == [1, 2]


def test_a_table_says_where_its_catalog_is(write_table, galaxies, tiny_survey, monkeypatch, tmp_path):
    place = {"catalog": str(tiny_survey), "root": None, "id_col": "id_str", "file_col": "file_loc"}
    task = RegressionTask(label_cols=("dec",))
    predictions = write_table(task, galaxies[["dec"]].to_numpy(), place=place)
    monkeypatch.chdir(tmp_path)
    data = data_of(explore(predictions))
    assert all(data["pictures"])
    np.testing.assert_allclose(column(data, "dec_label"), galaxies["dec"], rtol=1e-6)
