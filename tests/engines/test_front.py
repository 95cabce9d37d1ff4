"""The front door, in every engine: a model in a variable, and galaxies in any form."""

from html.parser import HTMLParser
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import zoobot
from zoobot.options.predict import PredictOptions
from zoobot.shared.errors import CheckpointError, ConfigError, ImageError
from zoobot.workflow import predict

FOUR = [f"galaxy-{number}" for number in range(4)]


class Tags(HTMLParser):
    """The tags of a piece of HTML, all closed, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = set(), "", []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += f"{data} "


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The folder of a small model of a kind, made when first asked for."""
    made = {}

    def saved(make_model, engine, kind):
        if (engine, kind) not in made:
            made[engine, kind] = tmp_path_factory.mktemp("model") / kind
            make_model(kind).save(made[engine, kind], training={"epoch": 3})
        return made[engine, kind]

    return saved


@pytest.fixture(scope="session")
def loaded():
    return {}


@pytest.fixture
def load(saved, loaded, make_model, engine, engine_name):
    """The model of a kind, which is loaded once and shared."""

    def load(kind):
        if (engine_name, kind) not in loaded:
            place = saved(make_model, engine, kind)
            loaded[engine_name, kind] = zoobot.load(place, backend=engine_name)
        return loaded[engine_name, kind]

    return load


@pytest.fixture
def files(catalog_path):
    return [catalog_path.parent / f"{number}.png" for number in range(4)]


def test_load_predict_and_look_in_five_lines(engine_name, monkeypatch, files):
    monkeypatch.setenv("ZOOBOT_BACKEND", engine_name)
    model = zoobot.load("zoobot-mini")
    galaxies = model.predict([np.asarray(Image.open(file)) for file in files])
    fractions = galaxies.fractions()
    assert fractions["smooth-or-featured-gz2_smooth_fraction"].between(0, 1).all()
    assert model.backend == engine_name
    pd.testing.assert_frame_equal(
        model.predict(files).table.iloc[:, 1:], galaxies.table.iloc[:, 1:], rtol=1e-6
    )
    look = Tags(galaxies._repr_html_())
    assert "smooth-or-featured-gz2" in look.words
    assert "4 galaxies" in look.words
    assert galaxies._repr_html_().count("<img") == 4


def test_galaxies_in_any_form_give_what_the_command_writes(
    load, saved, make_model, engine, engine_name, files, catalog_path, tmp_path
):
    model = load("tree")
    table = tmp_path / "table.parquet"
    place = str(saved(make_model, engine, "tree"))
    options = PredictOptions(
        checkpoint=place, catalog=str(catalog_path), save_loc=str(table), backend=engine_name, progress=False
    )
    predict(options)
    written = pd.read_parquet(table)[model.columns].to_numpy()
    arrays = [np.asarray(Image.open(file)) for file in files]
    for given in (arrays, np.stack(arrays), files, [Image.open(file) for file in files]):
        found = model.predict(given)
        assert len(found) == 4
        np.testing.assert_allclose(found.table[model.columns].to_numpy(), written[:4], rtol=1e-6)
    whole = model.predict(pd.read_csv(catalog_path), root=catalog_path.parent)
    np.testing.assert_allclose(whole.to_pandas()[model.columns].to_numpy(), written, rtol=1e-6)
    assert whole["id_str"].tolist()[:4] == [row["id_str"] for row in whole][:4] == FOUR
    look = Tags(whole._repr_html_())
    assert "of which 6 are shown" in look.words
    assert look.tags <= {"div", "span", "img"}


def test_another_crop_is_the_same_by_command_and_in_python(engine_name, files, catalog_path, tmp_path):
    mini = {"checkpoint": "zoobot-mini", "catalog": str(catalog_path), "backend": engine_name}
    table = tmp_path / "whole.parquet"
    predict(PredictOptions(**mini, save_loc=str(table), crop_fraction=1.0, progress=False))
    whole = zoobot.load("zoobot-mini", backend=engine_name, crop_fraction=1.0)
    written = pd.read_parquet(table)[whole.columns].to_numpy()[:4]
    np.testing.assert_allclose(whole.predict(files).table[whole.columns].to_numpy(), written, rtol=1e-5)
    centre = zoobot.load("zoobot-mini", backend=engine_name).predict(files)
    assert np.abs(centre.table[whole.columns].to_numpy() - written).max() > 0.1


@pytest.mark.parametrize(
    ("kind", "classes", "shown"),
    [
        ("classification", ("round", "edge-on"), "edge-on"),
        ("multi-label", ("edge_on", "round"), "edge_on"),
        ("regression", (), "axis_ratio"),
    ],
)
def test_each_task_shows_what_it_predicts(kind, classes, shown, load, files):
    model = load(kind)
    assert model.classes == classes
    assert model.schema is None
    found = model.predict(files[:1], names="plain")
    assert all(name.isidentifier() for name in found.columns)
    assert shown in Tags(found._repr_html_()).words
    with pytest.raises(ConfigError, match="fractions are those of a decision tree"):
        found.fractions()


def test_a_large_jpeg_and_its_array_are_one_galaxy(load, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    array = np.asarray(Image.open(tmp_path / "a.jpg"))
    model = load("tree")
    of_file, of_array = (model.represent(given).features for given in (tmp_path / "a.jpg", array))
    np.testing.assert_allclose(of_file, of_array, rtol=1e-6)


def test_what_cannot_be_read_is_told(load, files):
    model = load("classification")
    some = model.predict(
        {"good": files[0], "<b>": np.full((32, 32), 7.0), "none": files[0].with_suffix(".jpg")}
    )
    assert len(some) == 1
    assert some.failures["id_str"].tolist() == ["<b>", "none"]
    assert some.failures["file_loc"][0] == "image <b> (in memory)"
    assert "2 images could not be read" in Tags(some._repr_html_()).words
    with pytest.raises(ImageError, match=r"not one of 1 images could be read.*in \[0, 1\], got 7 to 7"):
        model.predict(np.full((32, 32), 7.0))
    named = model.predict({"<script>": files[0]})
    assert "script" not in Tags(named._repr_html_()).tags


def test_a_stream_gives_what_is_predicted_at_once(load, catalog_path):
    model = load("tree")
    parts = list(model.stream(catalog_path, rows=10, batch_size=4, columns=["flux"]))
    assert [len(part) for part in parts] == [10, 10, 4]
    assert [part.attrs["failures"] for part in parts] == [[], [], []]
    at_once = model.predict(catalog_path, batch_size=4, columns=["flux"]).table
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), at_once, rtol=1e-5)
    with pytest.raises(ConfigError, match="rows must be"):
        model.stream(catalog_path, rows=0)
    for ask in (model.predict, model.stream, model.represent):
        with pytest.raises(ConfigError, match=r"is loaded: zoobot.load\('.*', colour='to-rgb'\)"):
            ask(catalog_path, colour="to-rgb")
    asked = {"names": "plain", "columns": ["axis_ratio"], "batch_size": 4}
    parts = pd.concat(model.stream(catalog_path, rows=10, **asked), ignore_index=True)
    named = model.predict(catalog_path, **asked)
    pd.testing.assert_frame_equal(parts, named.table, rtol=1e-5)
    assert parts["axis_ratio"].tolist() == pd.read_csv(catalog_path)["axis_ratio"].tolist()
    assert "24 galaxies" in Tags(named._repr_html_()).words


def test_what_is_written_is_shown_without_being_read_as_a_whole(load, catalog_path, tmp_path, monkeypatch):
    model = load("classification")
    written = model.predict(catalog_path, save_loc=tmp_path / "table.csv", n_samples=2)
    monkeypatch.setattr(type(written), "table", property(lambda self: pytest.fail("the table was read")))
    assert "24 galaxies , of which 6 are shown" in " ".join(
        Tags(written._repr_html_()).words.replace(",", " ,").split()
    )


def test_bad_images_end_no_stream(load, files):
    model, bad = load("classification"), np.full((32, 32), 7.0)
    images = [np.asarray(Image.open(files[0])), bad, bad, bad, np.zeros((32, 32))]
    parts = list(model.stream(images, rows=2))
    assert [len(part) for part in parts] == [1, 0, 1]
    failed = [failure["id_str"] for part in parts for failure in part.attrs["failures"]]
    assert failed == ["1", "2", "3"]
    assert "in [0, 1], got 7 to 7" in parts[1].attrs["failures"][0]["reason"]
    whole = pd.concat(parts, ignore_index=True)
    assert whole["id_str"].tolist() == ["0", "4"]
    with pytest.raises(ImageError, match="not one of 2"):
        list(model.stream([bad] * 4, rows=2))


def test_why_it_says_so(load, files):
    model = load("tree")
    explained = model.explain(files[:2], "shape", methods=["integrated-gradients"], steps=2)
    assert len(explained) == 2
    assert explained[0].maps["integrated-gradients"].shape == (32, 32, 3)
    assert "Explained(2 galaxies: shape" in repr(explained)
    assert explained.figure._repr_png_()[0].startswith(b"\x89PNG")
    assert explained._repr_html_().count("<img") == 2


def test_several_models_predict_together(load, saved, make_model, engine, engine_name, files):
    place = saved(make_model, engine, "tree")
    both = zoobot.load([place, place], backend=engine_name)
    found = both.predict(files)
    assert found["sample"].tolist() == [0] * 4 + [1] * 4
    assert len(found.fractions()) == 4
    assert "4 galaxies" in Tags(found._repr_html_()).words
    assert len(both.engine_model) == 2
    with pytest.raises(ConfigError, match="represent takes one model, and this is 2"):
        both.represent(files)
    with pytest.raises(ConfigError, match="share one task"):
        zoobot.load([place, saved(make_model, engine, "regression")], backend=engine_name)


def test_it_tells_of_itself_and_is_kept(load, engine_name, files, tmp_path):
    model = load("tree")
    assert repr(model).endswith(f"tree tiny; test_resnet, {engine_name})")
    assert {"tree", "test_resnet", engine_name}.issubset(Tags(model._repr_html_()).words.split())
    assert "test_resnet" in repr(model.info())
    again = zoobot.load(model.save(tmp_path / "kept"), backend=engine_name)
    assert "epoch" in again.info().text
    pd.testing.assert_frame_equal(again.predict(files).table, model.predict(files).table)
    sent = model.push_to_hub("me/tiny", dry_run=True)
    assert sent.repository == "me/tiny"
    closer = zoobot.load(tmp_path / "kept", backend=engine_name, crop_fraction=0.5)
    assert closer.preprocessing.crop_fraction == 0.5
    with pytest.raises(ConfigError, match="loaded with crop_fraction"):
        closer.push_to_hub("me/tiny", dry_run=True)


def test_an_encoder_alone_represents(engine_name, files, publish, tmp_path):
    model = zoobot.load("imagenet-lite0", backend=engine_name)
    assert model.represent(files[:1]).features.shape == (1, 1280)
    assert model.task is None
    assert "an encoder alone" in repr(model)
    assert "pixels" in Tags(model._repr_html_()).words
    assert "tf_efficientnet_lite0" in repr(model.info())
    with pytest.raises(ConfigError, match="predicts nothing until a head is trained"):
        model.predict(files)
    with pytest.raises(CheckpointError, match="models that come with Zoobot: zoobot-mini"):
        zoobot.load("no-such-model", backend=engine_name)


def test_an_exported_file_needs_no_engine(load, engine, files, tmp_path):
    pytest.importorskip("onnxruntime")
    if engine.__name__ == "zoobot.pytorch" and find_spec("tensorflow"):
        pytest.skip("files of one engine are enough, and TensorFlow writes them sooner")
    pytest.importorskip({"zoobot.pytorch": "onnxscript", "zoobot.tensorflow": "tf2onnx"}[engine.__name__])
    model = load("classification")
    file = engine.checkpoint.export(model.engine_model, tmp_path / "model.onnx")
    exported = zoobot.load(file)
    assert exported.backend == "onnxruntime"
    found, expected = (one.predict(files).table[model.columns] for one in (exported, model))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "exported" in repr(exported)
    for work in (exported.represent, exported.explain):
        with pytest.raises(ConfigError, match="is an exported file"):
            work(files)
    with pytest.raises(ConfigError, match="predict without seed"):
        exported.predict(files, seed=1)
