"""Predictions in parts, in every engine: the same bytes however a run was cut up, and nothing mixed."""

import json

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import CatalogError, ConfigError, ImageError, PredictionsError
from zoobot.shared.predictions import read_prediction_chunks, read_prediction_metadata, read_predictions
from zoobot.shared.tables.part_folder import PartFolder


@pytest.fixture
def predict(engine, catalog_path):
    def run(model, folder, catalog=catalog_path, **options):
        options = {"part_rows": 10, "batch_size": 4, "progress": False} | options
        return engine.predict.predict(catalog, model, save_loc=folder, **options)

    return run


def files_of(folder):
    """The bytes of all data files of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}


def test_parts_together_are_the_table(engine, predict, make_model, catalog_path, tmp_path):
    model = make_model("tree")
    in_memory = engine.predict.predict(catalog_path, model, batch_size=4, progress=False).table
    result = predict(model, tmp_path / "parts")
    names = ["_manifest.json", *(f"part-00000{i}.parquet" for i in range(3))]
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == names
    for table in (result.table, read_predictions(tmp_path / "parts"), pd.read_parquet(tmp_path / "parts")):
        pd.testing.assert_frame_equal(table, in_memory, rtol=1e-4, check_dtype=False)
    chunks = list(read_prediction_chunks(tmp_path / "parts", rows=7))
    assert [len(chunk) for chunk in chunks] == [7, 3, 7, 3, 4]
    assert read_prediction_metadata(tmp_path / "parts")["catalog"] == str(catalog_path)
    assert len(result.failures) == 0


@pytest.mark.parametrize("n_samples", [1, 3])
def test_a_run_that_was_cut_up_gives_the_same_bytes(
    predict, make_model, tmp_path, n_samples, left_by_the_dead
):
    model = make_model("classification", dropout_prob=0.5)
    predict(model, tmp_path / "whole", n_samples=n_samples)
    whole = files_of(tmp_path / "whole")

    predict(model, tmp_path / "again", n_samples=n_samples)
    (tmp_path / "again" / "part-000001.parquet").unlink()
    left_by_the_dead(tmp_path / "again" / "part-000001.parquet", ".partial").write_bytes(b"half")
    predict(model, tmp_path / "again", n_samples=n_samples)
    assert files_of(tmp_path / "again") == whole
    assert not list((tmp_path / "again").glob(".*"))

    for shard in ("2/2", (1, 2)):
        predict(model, tmp_path / "shards", n_samples=n_samples, shard=shard, num_workers=0)
    assert files_of(tmp_path / "shards") == whole
    if n_samples > 1:
        assert set(pd.read_parquet(tmp_path / "whole")["sample"]) == {0, 1, 2}


def test_samples_differ_between_parts_and_seeds(predict, make_model, fit, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey", n_galaxies=2)
    one = pd.read_csv(catalog).iloc[:1].assign(file_loc=str(tmp_path / "survey" / "0.png"))
    same = pd.concat([one.assign(id_str=f"g{i}") for i in range(4)])
    model = fit(
        make_model("classification", dropout_prob=0.5, learning_rate=1e-2, head_start="prior"),
        tmp_path / "fit",
    )
    tables = [
        predict(model, tmp_path / f"s{seed}", same, part_rows=1, n_samples=2, seed=seed).table
        for seed in (1, 2)
    ]
    values = [table[table["sample"] == 0].iloc[:, 2].tolist() for table in tables]
    assert len(set(values[0])) == 4
    assert values[0] != values[1]


def test_an_ensemble_and_failures(engine, predict, make_model, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey")
    for i in (3, 4, 21):
        (tmp_path / "survey" / f"{i}.png").write_bytes(b"")
    (tmp_path / "survey" / "11.png").unlink()
    models = [make_model("tree"), make_model("tree", preprocessing={"image_size_pix": 48})]
    result = predict(models, tmp_path / "parts", catalog)
    assert result.failures["id_str"].tolist() == [f"galaxy-{i}" for i in (3, 4, 11, 21)]
    assert "can't be opened" in result.failures["reason"].tolist()[2]
    assert len(result.table) == 2 * 20
    assert len(list((tmp_path / "parts" / "_failures").iterdir())) == 3
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "parts"), result.table)
    # an image that can be read now leaves no failure behind
    (tmp_path / "parts" / "part-000001.parquet").unlink()
    write_galaxies(tmp_path / "survey")
    predict(models, tmp_path / "parts", catalog)
    assert len(list((tmp_path / "parts" / "_failures").iterdir())) == 2


def test_another_model_option_or_catalog_is_refused_by_name(
    predict, make_model, write_galaxies, catalog_path, tmp_path, caplog
):
    model = make_model("tree")
    predict(model, tmp_path / "p", shard="1/3")
    before = files_of(tmp_path / "p")
    other = make_model("tree", seed=5)
    for options, message in (
        ({"part_rows": 11}, "options.part_rows: 10 there, 11 now"),
        ({"batch_size": 5}, "options.batch_size: 4 there, 5 now"),
        ({"seed": 43}, "options.seed: 42 there, 43 now"),
        ({"n_samples": 2}, "options.n_samples: 1 there, 2 now"),
        ({"precision": "bf16-mixed"}, "options.precision: "),
        (
            {"catalog": CatalogStream(catalog_path, select="edge_on=1")},
            "options.select: None there",
        ),
        ({"catalog": pd.read_csv(catalog_path), "root": "/elsewhere"}, "catalog.fingerprint: "),
    ):
        with pytest.raises(PredictionsError, match=message):
            predict(model, tmp_path / "p", **options)
    with pytest.raises(PredictionsError, match=r"models\.0: '\w+' there, '\w+' now"):
        predict(other, tmp_path / "p")
    with pytest.raises(PredictionsError, match=r"models\.1: None there"):
        predict([model, model], tmp_path / "p")
    assert files_of(tmp_path / "p") == before

    manifest = json.loads((tmp_path / "p" / "_manifest.json").read_text())
    manifest["versions"]["numpy"] = "0.1"
    (tmp_path / "p" / "_manifest.json").write_text(json.dumps(manifest))
    result = predict(model, tmp_path / "p", catalog=pd.read_csv(catalog_path), root=catalog_path.parent)
    assert "numpy 0.1, now" in caplog.text
    assert len(result.table) == 24


def test_the_hash_of_a_model_is_that_of_its_checkpoint(engine, predict, make_model, tmp_path):
    model = make_model("tree")
    engine.checkpoint.save(model, tmp_path / "checkpoint", training={"when": "today"})
    predict(model, tmp_path / "p", shard="1/3")
    assert len(predict(tmp_path / "checkpoint", tmp_path / "p").table) == 24


def test_an_exported_model(engine, predict, make_model, catalog_path, tmp_path):
    pytest.importorskip("onnxruntime")
    from zoobot.shared.predicting.run import predict_exported

    model = make_model("classification")
    file = engine.checkpoint.export(model, tmp_path / "m.onnx")
    table = predict(file, tmp_path / "p").table
    np.testing.assert_allclose(table.iloc[:, 1:], predict(model, tmp_path / "q").table.iloc[:, 1:], atol=1e-4)
    assert predict_exported(
        catalog_path, file, save_loc=tmp_path / "alone", part_rows=10, batch_size=4, progress=False
    ).table.equals(table)


def test_images_that_change_between_parts_are_failures_and_the_run_goes_on(
    predict, make_model, write_galaxies, tmp_path, monkeypatch
):
    survey, model = tmp_path / "survey", make_model("tree")
    catalog = write_galaxies(survey)
    write, parts = PartFolder.write_failures, []

    def write_then_change(folder, number, failures):
        write(folder, number, failures)
        parts.append(number)
        if len(parts) == 2:
            raise KeyboardInterrupt
        (survey / "0.png").unlink()  # it was looked at
        (survey / "11.png").unlink()
        (survey / "12.png").write_bytes((survey / "12.png").read_bytes()[:60])
        (survey / "13.png").write_text("moved")
        (survey / "14.png").unlink()
        (survey / "14.png").mkdir()
        (survey / "15.png").write_bytes((survey / "3.png").read_bytes())

    monkeypatch.setattr(PartFolder, "write_failures", write_then_change)
    with pytest.raises(KeyboardInterrupt):
        predict(model, tmp_path / "p", catalog)
    assert [path.name for path in (tmp_path / "p").glob("part-*")] == ["part-000000.parquet"]
    monkeypatch.undo()
    result = predict(model, tmp_path / "p", catalog)
    assert result.failures["id_str"].tolist() == [f"galaxy-{i}" for i in (11, 12, 13, 14)]
    assert result.failures["reason"].str.len().min() > 5
    table = result.table.set_index("id_str")
    assert table.index.tolist() == [f"galaxy-{i}" for i in range(24) if i not in (11, 12, 13, 14)]
    np.testing.assert_allclose(table.loc["galaxy-15"], table.loc["galaxy-3"], rtol=1e-3)
    assert predict(model, tmp_path / "p", catalog).table.equals(result.table)


def test_too_many_failures_end_the_run_and_keep_what_is_done(predict, make_model, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey")
    for i in (2, 12, 13, 14):
        (tmp_path / "survey" / f"{i}.png").write_bytes(b"")
    model = make_model("tree")
    for limit in (2, 0.1):
        with pytest.raises(ImageError, match=r"(?s)[34] of 24 images .*galaxy-2: .*galaxy-12: "):
            predict(model, tmp_path / "p", catalog, max_failures=limit, batch_size=2)
        assert sorted(files_of(tmp_path / "p")) == ["_failures/part-000000.parquet", "part-000000.parquet"]
    with pytest.raises(ImageError, match=r"[34] of 24 images"):
        predict(model, tmp_path / "t.csv", catalog, max_failures=2, part_rows=None, batch_size=2)
    assert not (tmp_path / "t.csv").exists()
    assert len(predict(model, tmp_path / "p", catalog, max_failures=4, batch_size=2).table) == 20


def test_where_no_image_can_be_read_the_paths_are_doubted(predict, make_model, catalog_path, tmp_path):
    with pytest.raises(ImageError, match=r"not one of 24 images .* another folder \(root\)"):
        predict(make_model("tree"), tmp_path / "p", root=tmp_path)


def test_bad_requests_are_refused_before_work(predict, make_model, catalog_path, tmp_path):
    model = make_model("tree")
    for options, message in (
        ({"shard": "0/8"}, "shard must be"),
        ({"shard": "9/8"}, "shard must be"),
        ({"shard": (1.0, 2)}, "shard must be"),
        ({"part_rows": 0}, "part_rows must be"),
        ({"max_failures": -1}, "max_failures must be"),
        ({"max_failures": 1.5}, "max_failures must be"),
    ):
        with pytest.raises(ConfigError, match=message):
            predict(model, tmp_path / "p", **options)
    with pytest.raises(ConfigError, match="shard is for a save_loc that is a folder"):
        predict(model, tmp_path / "p.csv", part_rows=None, shard="1/2")
    with pytest.raises(CatalogError, match="CatalogStream is for"):
        predict(model, None, CatalogStream(catalog_path), part_rows=None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(PredictionsError, match=r"holds other files \(thesis.tex\)"):
        predict(model, tmp_path / "full")


def test_an_incomplete_folder_names_what_is_missing(predict, make_model, tmp_path):
    result = predict(make_model("tree"), tmp_path / "p", shard="2/3")
    with pytest.raises(PredictionsError, match=r"lacks 2 of 3 parts \(0, 2\)"):
        _ = result.table
    assert len(pd.read_parquet(tmp_path / "p")) == 10


def test_compiling_is_off_unless_asked(predict, make_model, tmp_path):
    predict(make_model("tree"), tmp_path / "p")
    assert json.loads((tmp_path / "p" / "_manifest.json").read_text())["options"]["compile"] is False
