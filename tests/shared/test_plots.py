"""Pictures are files with something on them; what they show is read back from the axes they are drawn on."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import plots
from zoobot.certainty.coverage import reliability_curve
from zoobot.plots import Bar, calibration, comparisons, curves, examples, style
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError, WriteError

SCHEMA = schemas.get("gz_decals_dr5")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, as Matplotlib objects."""
    figures = []
    real = style.save

    def save(figure, path, **options):
        figures.append(figure)
        return real(figure, path, **options)

    for module in (calibration, comparisons, comparisons, curves, examples):
        monkeypatch.setattr(module, "save", save)
    return figures


def ink(path):
    """How much of a picture is not white."""
    return float((np.asarray(Image.open(path).convert("L")) < 250).mean())


def texts(figure):
    return [t.get_text() for axes in figure.axes for t in axes.texts] + [
        a.get_title("left") for a in figure.axes
    ]


def log(n_epochs=5):
    epoch = np.arange(n_epochs)
    return pd.DataFrame(
        {
            "epoch": epoch + 1,
            "train_loss": 1.0 / (epoch + 1),
            "val_loss": np.abs(epoch - 2) + 1.0,
            "val_accuracy": epoch / 10,
        }
    )


def test_training_curves_mark_the_best_epoch(tmp_path, drawn):
    path = plots.training_curves(log(), tmp_path / "new" / "curves.png", scores=["accuracy", "absent"])
    assert ink(path) > 0.01
    losses, scores = drawn[0].axes
    assert "best: epoch 3" in [t.get_text() for t in losses.texts]
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), log()["val_loss"])
    assert len(scores.lines) == 1


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_training_curves_of_a_short_run(tmp_path, n_epochs):
    assert ink(plots.training_curves(log(n_epochs), tmp_path / "c.png", scores=["accuracy"])) > 0.005


def test_training_curves_bear_missing_numbers(tmp_path):
    table = log()
    table.loc[1, "val_loss"] = np.nan
    table["val_r2"] = np.nan
    assert ink(plots.training_curves(table, tmp_path / "c.png", scores=["r2"])) > 0.005


@pytest.mark.parametrize("table", [pd.DataFrame(), log(0), log().drop(columns="val_loss")])
def test_training_curves_of_nothing_are_refused(tmp_path, table):
    with pytest.raises(ConfigError, match="needs rows with epoch and val_loss"):
        plots.training_curves(table, tmp_path / "c.png")


@pytest.mark.parametrize(
    "image",
    [
        np.full((20, 20, 3), 90, np.uint8),
        np.full((20, 20, 1), 0.5, np.float32),
        np.full((20, 20, 2), 0.5, np.float32),
        np.full((20, 20, 5), 0.5, np.float32),
    ],
    ids=["uint8", "grey", "two bands", "five bands"],
)
def test_example_galaxies_of_every_kind_of_image(tmp_path, image):
    bars = [[Bar("Shape"), Bar("ring", 0.9, 1.0)], [Bar("ring", 0.1)]]
    path = plots.example_galaxies(tmp_path / "e.png", [image, image], bars, names=["a", "b"])
    assert ink(path) > 0.05


def test_example_galaxies_show_predictions_and_labels(tmp_path, drawn):
    bars = [[Bar("Shape"), Bar("ring", 0.9, 0.25), Bar("T", 0.5, None, "3.1")]]
    plots.example_galaxies(tmp_path / "e.png", [np.zeros((8, 8, 3), np.uint8)], bars)
    axes = drawn[0].axes[1]
    assert [t.get_text() for t in axes.texts] == ["Shape", "ring", "90%", "T", "3.1"]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == [1, 0.9, 1, 0.5]
    marks = [segment[0][0] for c in axes.collections for segment in c.get_segments()]
    assert marks == [0.25]


def test_example_galaxies_need_a_list_of_bars_each(tmp_path):
    with pytest.raises(ConfigError, match="got 1 and 0"):
        plots.example_galaxies(tmp_path / "e.png", [np.zeros((8, 8, 3))], [])
    with pytest.raises(ConfigError, match="got 0 and 0"):
        plots.example_galaxies(tmp_path / "e.png", [], [])


def test_confusion_matrix_shows_counts_and_shares(tmp_path, drawn):
    path = plots.confusion_matrix(np.array([[3, 1], [0, 4]]), ["round", "cigar"], tmp_path / "c.png")
    assert ink(path) > 0.05
    assert {"3\n75%", "1\n25%", "0\n0%", "4\n100%", "8 galaxies"} <= set(texts(drawn[0]))


def test_confusion_matrix_of_many_classes_and_an_absent_one(tmp_path):
    counts = np.diag([0, *range(1, 20)])
    assert ink(plots.confusion_matrix(counts, [f"class {k}" for k in range(20)], tmp_path / "c.png")) > 0.02


def test_regression_scatter_leaves_out_the_unknown(tmp_path, drawn):
    targets = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan]])
    predicted = np.array([[1.0, 5.0], [4.0, 5.0], [9.0, 9.0]])
    assert ink(plots.regression_scatter(predicted, targets, ["T", "bar"], tmp_path / "r.png")) > 0.005
    first, second = drawn[0].axes
    assert first.collections[0].get_offsets().tolist() == [[1, 1], [2, 4]]
    assert first.get_title("left") == "T   RMSE 1.41"
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["predicted = true"]
    assert len(second.collections[0].get_offsets()) == 0


def test_regression_scatter_of_one_galaxy_and_of_very_many(tmp_path):
    one = np.array([[2.0]])
    assert ink(plots.regression_scatter(one, one, ["T"], tmp_path / "one.png")) > 0.005
    many = np.random.default_rng(0).normal(size=(5000, 1))
    assert ink(plots.regression_scatter(many, many, ["T"], tmp_path / "many.png")) > 0.02


def test_fractions_scatter_compares_fractions_of_all_who_were_asked(tmp_path, drawn):
    votes = np.full((3, len(SCHEMA.label_cols)), np.nan)
    first = SCHEMA.questions[0].slice
    votes[:, first] = [[8, 2, 0], [1, 9, 0], [1, 0, 0]]
    fractions = np.full_like(votes, 0.25)
    ends = fractions - 0.1, fractions + 0.2
    plots.fractions_scatter(fractions, votes, SCHEMA, tmp_path / "f.png", intervals=ends)
    (axes,) = drawn[0].axes
    assert axes.get_title("left") in ("Smooth or featured: smooth", "Smooth or featured: featured or disk")
    points = axes.collections[0].get_offsets()
    assert sorted(points[:, 0].tolist()) in ([0.1, 0.8, 1.0], [0.0, 0.2, 0.9])
    assert axes.get_xlabel() == "volunteers' fraction (3 galaxies)"  # as many as the table says
    assert points[:, 1].tolist() == [0.25, 0.25, 0.25]
    assert all(segment[:, 1].tolist() == [0.15, 0.45] for segment in axes.collections[1].get_segments())


def test_fractions_scatter_needs_votes(tmp_path):
    votes = np.zeros((3, len(SCHEMA.label_cols)))
    with pytest.raises(ConfigError, match="nothing to compare with"):
        plots.fractions_scatter(votes + 0.5, votes, SCHEMA, tmp_path / "f.png")


def test_purity_completeness_leaves_out_what_has_one_answer_only(tmp_path, drawn):
    labels = np.array([[1, 1], [0, 1], [1, np.nan], [0, 1]], dtype=float)
    probabilities = np.array([[0.9, 0.9], [0.1, 0.9], [0.8, 0.9], [0.2, 0.9]])
    plots.purity_completeness(probabilities, labels, ["ring", "bar"], tmp_path / "p.png")
    (line,) = drawn[0].axes[0].lines
    assert line.get_label() == "ring (50% of galaxies)"
    assert set(line.get_ydata()) <= {0.5, 2 / 3, 1.0}


def test_question_confusions_show_the_questions_with_most_galaxies(tmp_path, drawn):
    counts = [np.zeros((len(q.answers),) * 2, int) for q in SCHEMA.questions]
    counts[0][0, 0], counts[0][1, 0], counts[2][1, 1] = 6, 2, 3
    assert ink(plots.question_confusions(counts, SCHEMA, tmp_path / "q.png")) > 0.02
    first, second = drawn[0].axes
    assert first.get_title("left") == "Smooth or featured (8 galaxies)"
    assert [t.get_text() for t in first.texts] == ["100", "0", "0", "100", "0", "0"]
    assert second.get_title("left").endswith("(3 galaxies)")
    assert first.get_ylabel() == "answer with most votes (galaxies)"
    with pytest.raises(ConfigError, match="no question"):
        plots.question_confusions([0 * c for c in counts], SCHEMA, tmp_path / "q.png")


def test_reliability_panels_draw_what_has_labels(tmp_path, drawn):
    curves = {"ring": reliability_curve([0.1, 0.9], [0, 1]), "bar": reliability_curve([], [])}
    assert ink(plots.reliability_panels(curves, tmp_path / "r.png")) > 0.005
    (axes,) = drawn[0].axes
    assert axes.get_title("left") == "ring"
    assert len(axes.lines) == 1  # the diagonal: one prediction a step says too little for a line
    low, high = (segment[:, 1].tolist() for segment in axes.collections[0].get_segments())
    assert low == pytest.approx([0, 0.5])
    assert high == pytest.approx([0.5, 1])
    assert [t.get_text() for t in axes.texts] == ["error 0.100"]
    three = np.repeat([0.05, 0.15, 0.95], 12)
    plots.reliability_panels({"ring": reliability_curve(three, three > 0.5)}, tmp_path / "t.png")
    assert len(drawn.pop().axes[0].lines) == 3  # two steps between three of twelve predictions
    many = {f"label {k}": reliability_curve([0.5], [1]) for k in range(20)}
    assert ink(plots.reliability_panels(many, tmp_path / "m.png")) > 0.005
    assert len(drawn[1].axes) == 12
    with pytest.raises(ConfigError, match="no predictions with labels"):
        plots.reliability_panels({"bar": curves["bar"]}, tmp_path / "r.png")


def test_coverage_dots_stand_where_the_table_says(tmp_path, drawn):
    table = pd.DataFrame(
        {
            "question": ["shape", "bar", "shape", "bar"],
            "level": [0.5, 0.5, 0.9, 0.9],
            "n": [7, 0, 7, 0],
            "votes": [0.4, np.nan, 0.85, np.nan],
            "votes_plain": [0.6, np.nan, 0.95, np.nan],
        }
    )
    assert ink(plots.coverage_dots(table, tmp_path / "c.png", titles={"shape": "Shape"})) > 0.005
    (axes,) = drawn[0].axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Shape  (7)"]
    places = [c.get_offsets().tolist() for c in axes.collections]
    assert places == [[[0.6, 0]], [[0.4, 0]], [[0.95, 0]], [[0.85, 0]]]
    with pytest.raises(ConfigError, match="no question has votes"):
        plots.coverage_dots(table[table["n"] == 0], tmp_path / "c.png")


def test_question_titles_drop_a_suffix_that_all_share():
    assert plots.question_titles(SCHEMA)[:2] == ["Smooth or featured", "Disk edge on"]
    shared = {
        title.rpartition(" ")[2] for title in plots.question_titles(schemas.get("gz_decals_all_campaigns"))
    }
    assert {"dr5", "dr8"} <= shared
    assert plots.question_titles(schemas.get("gz_rings")) == ["Ring"]


def test_drawing_needs_no_display_and_leaves_pyplot_alone(tmp_path):
    code = (
        "import sys, pandas as pd; from zoobot import plots\n"
        "log = pd.DataFrame({'epoch': [1, 2], 'train_loss': [2, 1], 'val_loss': [2, 1]})\n"
        f"plots.training_curves(log, {str(tmp_path / 'c.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"MPLBACKEND": "TkAgg", "PATH": ""})
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_every_axis_says_what_it_shows(tmp_path, drawn):
    plots.training_curves(log(), tmp_path / "c.png", scores=["accuracy"])
    names = [(axes.get_xlabel(), axes.get_ylabel()) for axes in drawn[0].axes]
    assert names == [("epoch", "loss (mean of galaxies)"), ("epoch", "score on validation galaxies")]


@pytest.mark.parametrize("kind", ["sheet", "examples"])
def test_no_caption_is_cut(tmp_path, monkeypatch, kind):
    figures = []
    monkeypatch.setattr(
        sys.modules["zoobot.plots.examples"], "save", lambda figure, path: figures.append(figure)
    )
    monkeypatch.setattr(examples, "save", lambda figure, path: figures.append(figure))
    image, name = (
        np.zeros((8, 8, 3)),
        "12. SDSS J123456.78+001122.33 of the northern field\nits spiral arms: 2.3",
    )
    if kind == "sheet":
        plots.contact_sheet(tmp_path / "s.png", [image] * 8, [name] * 8)
    else:
        plots.example_galaxies(tmp_path / "s.png", [image] * 4, [[Bar("ring", 0.5)]] * 4, names=[name] * 4)
    figure = figures[0]
    figure.savefig(tmp_path / "s.png", dpi=100)
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        box = axes.title.get_window_extent()
        assert box.x0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
        assert axes.title.get_text().replace("\n", " ").replace("- ", "-") in ("", name.replace("\n", " "))


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = plots.training_curves(log(), tmp_path / "c.png")
    before = path.read_bytes()

    def full(self, place, **options):
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(WriteError, match=r"c.png: No space left on device; the older file is kept"):
        plots.training_curves(log(3), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"]
