"""What explorer pages are made of: charts, look-alikes, pictures, and a file that is safe to open."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import explorer_contents as contents
import numpy as np
import pytest
from PIL import Image

from zoobot.explorer import (
    Column,
    Text,
    Thumbnails,
    describe_predictions,
    find_neighbours,
    make_thumbnails,
    page_text,
    write_page,
)
from zoobot.shared.errors import LabelError, WriteError
from zoobot.shared.predicting.posterior_tables import summary_table
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.schemas import Schema, get
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.scripts = {}
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "script":
            self._inside = dict(attrs).get("type")
            self.scripts[self._inside] = ""

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside is not None:
            self.scripts[self._inside] += data


def data_of(text):
    return json.loads(Elements(text).scripts["application/json"])


def numbers(packed, kind="<f4"):
    return np.frombuffer(base64.b64decode(packed), kind)


def test_hostile_names_stay_data(tmp_path):
    hostile = contents.HOSTILE
    harmless = contents.make_contents(len(hostile))
    page = contents.make_contents(len(hostile), ids=hostile, title=hostile[0])
    page.texts.append(Text(hostile[1], hostile[2], list(hostile)))
    page.columns.append(Column(hostile[0], hostile[0], np.zeros(len(hostile))))
    text = page_text(page)
    assert Elements(text).tags == Elements(page_text(harmless)).tags
    data = data_of(text)
    assert data["ids"] == list(hostile)
    assert data["texts"][-1]["words"] == list(hostile)
    block = text[text.index('type="application/json"') :].partition("</script>")[0]
    assert not re.search(r"[^ -~]", block)
    write_page(tmp_path / "page.html", page)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_nothing_can_be_loaded_and_no_script_but_ours_can_run():
    text = page_text(contents.make_contents(3))
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src &#x27;none&#x27;")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(
        r"(https?:)?//(?!www\.w3\.org/2000/svg)[\w.]+\.\w+/", text.replace("http://www.w3.org/2000/svg", "")
    )
    for place in ("style", "script"):
        part = re.search(rf"<{place}(?: type=\"module\")?>(.*?)</{place}>", text, flags=re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{place}-src &#x27;sha256-{digest}&#x27;" in policy


def test_the_scripts_turn_no_text_into_html():
    import zoobot.explorer

    folder = Path(zoobot.explorer.__file__).with_name("page")
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.js"))
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|fetch\(|import ", scripts
    )
    assert "</" not in scripts.lower()


def test_numbers_arrive_as_they_were():
    page = contents.make_contents(5)
    page.columns[0] = page.columns[0]._replace(values=np.array([0.1, 1, np.nan, 3e-9, 1e30]))
    data = data_of(page_text(page))
    for column, packed in zip(page.columns, data["columns"], strict=True):
        np.testing.assert_array_equal(numbers(packed["values"]), column.values.astype(np.float32))
    np.testing.assert_array_equal(
        numbers(data["neighbours"]["rows"], "<i4").reshape(5, 3), page.neighbours.rows
    )


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        write_page(tmp_path / "file" / "page.html", contents.make_contents(1))


def test_a_tree_shows_its_summary():
    schema = get("gz2")
    samples = np.random.default_rng(1).uniform(1, 50, (3, 6, len(schema.label_cols)))
    samples[1, 4, 3] = np.nan
    votes = np.random.default_rng(2).integers(0, 9, (6, len(schema.label_cols))).astype(float)
    votes[5] = np.nan
    described = describe_predictions(TreeTask(schema=schema), samples, votes, level=0.8)
    columns = {column.name: column.values for column in described.columns}
    table = summary_table(samples[:, [0, 1, 2, 3, 5]], schema, level=0.8)
    for name in table:
        np.testing.assert_allclose(np.delete(columns[name], 4), table[name])
        assert np.isnan(columns[name][4])
    assert len(described.charts) == len(schema.questions)
    for chart, question in zip(described.charts, schema.questions, strict=True):
        assert [described.columns[bar.value].name for bar in chart.bars] == [
            f"{c}_fraction" for c in question.label_cols
        ]
        parents = {schema.questions[k].label_cols[bar] for k, bar in chart.parents}
        assert parents == set(question.parents)
    first = votes[:, :3] / votes[:, :3].sum(axis=1, keepdims=True)
    label = columns[f"{schema.label_cols[1]}_label_fraction"]
    np.testing.assert_allclose(label, first[:, 1])
    assert np.isnan(columns["label_difference"][[4, 5]]).all()
    assert np.isfinite(columns["label_difference"][:4]).all()


def test_a_tree_without_a_single_prediction_is_empty():
    samples = np.full((1, 2, 5), np.nan)
    described = describe_predictions(TreeTask(schema=contents.TREE), samples, samples[0], level=0.9)
    assert all(np.isnan(column.values).all() for column in described.columns)


def test_a_question_with_one_answer_is_a_chart():
    schema = Schema.from_pairs({"galaxy": ["yes"]})
    described = describe_predictions(
        TreeTask(schema=schema), np.ones((1, 2, 1)), np.full((2, 1), np.nan), level=0.9
    )
    assert described.columns[described.charts[0].bars[0].value].values.tolist() == [1, 1]


def test_classes_have_means_intervals_and_labels():
    task = ClassificationTask(class_names=("ring", "spiral"), label_cols=("kind",))
    samples = np.array([[[0.2, 0.8], [0.9, 0.1], [np.nan, np.nan]], [[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]]])
    described = describe_predictions(task, samples, np.array([[0.0], [np.nan], [1.0]]), level=0.5)
    columns = {column.name: column.values for column in described.columns}
    np.testing.assert_allclose(columns["kind_ring_probability"], [0.3, 0.9, np.nan])
    np.testing.assert_allclose(columns["kind_ring_probability_lower"], [0.25, 0.9, np.nan])
    np.testing.assert_allclose(columns["label_difference"], [0.7, np.nan, np.nan])
    texts = {text.name: text.values for text in described.texts}
    assert texts == {"predicted_class": ["spiral", "ring", ""], "label": ["ring", "", "spiral"]}
    assert described.texts[described.charts[0].label].name == "label"


def test_yes_or_no_labels_share_a_chart():
    task = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    described = describe_predictions(task, np.array([[[0.25, 0.5]]]), np.array([[1.0, np.nan]]), level=0.9)
    (chart,) = described.charts
    assert [bar.title for bar in chart.bars] == ["ring", "bar"]
    assert described.columns[-1].values.tolist() == [0.75]


def test_numbers_have_a_scale_of_all_that_is_drawn():
    task = RegressionTask(num_targets=1, label_cols=("T",))
    described = describe_predictions(
        task, np.array([[[1.0], [4.0]]]), np.array([[-2.0], [np.nan]]), level=0.9
    )
    (chart,) = described.charts
    assert chart.scale == (-2, 4)
    assert not described.columns[chart.bars[0].value].is_share
    assert [c.values.tolist() for c in described.columns if c.name == "T_label_difference"] == [
        pytest.approx([3, np.nan], nan_ok=True)
    ]


def test_labels_that_are_no_votes_are_refused():
    with pytest.raises(LabelError):
        describe_predictions(
            TreeTask(schema=contents.TREE), np.ones((1, 1, 5)), np.full((1, 5), -1.0), level=0.9
        )


def test_neighbours_are_those_of_brute_force():
    draws = np.random.default_rng(3)
    features = draws.normal(size=(40, 6)) * [1, 10, 100, 1, 1, 1] + 5
    known = [f"g{k}" for k in range(40)]
    ids = [*known[::-1], "unknown"]
    found = find_neighbours(ids, known, features, count=5)
    centred = features - features.mean(axis=0)
    vectors = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for place, galaxy in enumerate(ids[:-1]):
        alike = vectors @ vectors[known.index(galaxy)]
        nearest = np.argsort(-alike)[1:6]
        assert [ids[row] for row in found.rows[place]] == [known[k] for k in nearest]
        np.testing.assert_allclose(found.similarities[place], alike[nearest], rtol=1e-4)
    assert found.rows[-1].tolist() == [-1] * 5


@pytest.mark.parametrize("count", [1, 2])
def test_few_galaxies_have_few_neighbours(count):
    ids = ["a", "b"][:count]
    found = find_neighbours(ids, ids, np.arange(count, dtype=float)[:, None], count=4)
    assert found.rows.shape == (count, 4)
    assert (found.rows >= 0).sum() == (2 if count == 2 else 0)


def test_thumbnails_are_small_and_failures_have_reasons(tmp_path):
    Image.new("RGB", (60, 40), (200, 30, 10)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), str(tmp_path / "c.png"), None]
    made = make_thumbnails(paths, Preprocessing(image_size_pix=24), num_workers=2, progress=False)
    image = Image.open(io.BytesIO(base64.b64decode(made.pictures[0])))
    assert image.format == "WEBP"
    assert image.size == (24, 24)
    np.testing.assert_allclose(np.asarray(image.convert("RGB")).mean(axis=(0, 1)), (200, 30, 10), atol=6)
    assert made.pictures[1:] == [None] * 3
    assert made.reasons[0] == ""
    assert all(made.reasons[1:])
    assert str(tmp_path) not in "".join(made.reasons)  # a page is sent to others


def test_no_pictures_have_one_reason():
    made = Thumbnails.none(2, "why")
    assert made == ([None, None], ["why", "why"])


def test_the_page_is_in_the_package():
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    assert "explorer/page/*" in setup


def test_a_page_stays_small():
    small, large = (len(page_text(contents.make_contents(n))) for n in (1000, 2000))
    per_galaxy = (large - small) / 1000
    numbers_of_each = len(contents.make_contents(1).columns)
    picture = len(contents.webp("navy"))
    assert per_galaxy < 1.4 * 4 * numbers_of_each + picture + 100
