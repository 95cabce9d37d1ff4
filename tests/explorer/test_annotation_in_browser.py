"""Galaxies labelled on a page, in a real browser: by keys and touch, kept, out as files and in again."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from explorer_contents import HOSTILE, TREE, contents_to_label, make_contents
from opened_page import OpenedPage
from PIL import Image

from zoobot import workflow
from zoobot.explorer import Positions, ask_for_class, ask_for_rating, ask_tree, write_page
from zoobot.options import ExploreOptions, FinetuneOptions
from zoobot.shared.catalog import encode_labels, read_catalog
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.schemas import Schema
from zoobot.shared.votes import check_votes

RINGS = ask_for_class(["ring", "not-ring"], "label")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
FORBIDDEN = """Object.defineProperty(window, 'localStorage', {
  get() { throw new DOMException('forbidden', 'SecurityError'); } })"""
# `bar` stands before the question that leads to it, and `wound` is asked after answers of two others.
WOUND = Schema.from_pairs(
    {
        "bar": ["yes", "no"],
        "shape": ["smooth", "disk", "star"],
        "wound": ["tight", "loose"],
        "odd": ["yes", "no"],
    },
    {"bar": "shape_disk", "wound": ["bar_yes", "bar_no", "shape_smooth"]},
)


def press(page, keys):
    for key in keys:
        page.keyboard.press(key)


def text(page, name):
    return page.locator(f"#{name}").inner_text()


def download(page, button, folder):
    """What is downloaded, as a file under the name that the page proposes."""
    with page.expect_download() as waiting:
        page.click(f"#{button}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def load(page, content, name="labels.csv"):
    page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": content.encode()})
    page.locator("#said", has_text=re.compile("^Read answers of|can't be read")).wait_for()


def test_fifty_galaxies_are_labelled_by_keyboard_and_finetuned_on(browser, tmp_path, undrawn):
    draws = np.random.default_rng(1)
    kinds = draws.permutation(np.repeat(["ring", "not-ring"], 25))
    for row, kind in enumerate(kinds):
        pixels = draws.integers(0, 60, (32, 32, 3)).astype(np.uint8)
        pixels[8:24, 8:24, 0] = 250 if kind == "ring" else 0
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
    names = [f"{row}.png" for row in range(50)]
    ids = [f"0{587739505552785605 + row}" for row in range(50)]
    pd.DataFrame({"id_str": ids, "file_loc": names}).to_csv(tmp_path / "galaxies.csv", index=False)
    made = workflow.explore(
        ExploreOptions(
            results=str(tmp_path / "galaxies.csv"), annotate="classes", classes=("ring", "not-ring"),
            num_workers=1, progress=False,
        )
    )  # fmt: skip
    opened = OpenedPage(browser, made.save_loc)
    page = opened.page
    assert text(page, "status") == "0 of 50 labelled, 50 left"
    press(page, ["1" if kind == "ring" else "2" for kind in kinds])
    assert text(page, "status") == "50 of 50 labelled, nothing is left"
    assert "All galaxies are done" in text(page, "said")
    file = download(page, "csv", tmp_path)
    assert file.name == "galaxies_labels.csv"
    as_json = download(page, "json", tmp_path)
    opened.check()
    opened.context.close()
    for path in (file, as_json):
        table = read_table(path, text_cols=["id_str"])
        assert list(table) == ["id_str", "file_loc", "label"]
        catalog = read_catalog(path)
        assert catalog.ids == ids
        codes, classes = encode_labels(catalog.table, "label", class_names=["ring", "not-ring"])
        assert [classes[code] for code in codes] == kinds.tolist()
    with undrawn():
        result = workflow.finetune(
            FinetuneOptions(
                catalog=file, labels=("label",), save_dir=tmp_path / "run", encoder="resnet10t",
                image_size_pix=32, max_epochs=1, batch_size=16, accelerator="cpu", calibrate=False,
                num_workers=1, progress=False,
            )
        )  # fmt: skip
    assert len(pd.read_parquet(result.save_dir / "predictions.parquet")) == 10  # those that validate


def test_a_tree_asks_only_what_is_reached_and_counts_one_vote_each(open_page, tmp_path):
    page = open_page(contents_to_label(ask_tree(WOUND), 5))
    asked = []
    for keys in (["2", "1", "2", "2"], ["1", "1", "2"], ["3", "1"], ["2", "s", "2"], ["s", "s"]):
        for key in keys:
            asked.append(text(page, "question"))
            press(page, key)
    assert asked == [
        *("Shape", "Bar", "Wound", "Odd"),
        *("Shape", "Wound", "Odd"),
        *("Shape", "Odd"),
        *("Shape", "Bar", "Odd"),
        *("Shape", "Odd"),
    ]
    assert text(page, "status") == "4 of 5 labelled, 1 unsure, nothing is left"
    for button in ("csv", "json"):
        table = read_table(download(page, button, tmp_path), text_cols=["id_str"])
        assert table["id_str"].tolist() == [f"galaxy-0000{row}" for row in range(4)]  # the unsure has no row
        votes = check_votes(table[WOUND.label_cols].to_numpy(float), WOUND)
        assert votes.tolist() == [
            [1, 0, 0, 1, 0, 0, 1, 0, 1],
            [0, 0, 1, 0, 0, 1, 0, 0, 1],
            [0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0, 0, 0, 1, 0, 0, 0, 0, 1],
        ]
        catalog = read_catalog(
            tmp_path / "galaxies_labels.csv", label_cols=WOUND.label_cols, check_files=False
        )
        np.testing.assert_array_equal(catalog.labels, votes)


def test_an_answer_can_be_given_anew_and_what_it_led_to_is_forgotten(open_page, tmp_path):
    page = open_page(contents_to_label(ask_tree(WOUND), 2))
    press(page, ["2", "1", "1", "1", "ArrowLeft"])
    assert text(page, "question") == "All its questions are answered"
    assert page.locator("#given button").all_inner_texts() == [
        "Bar: Yes", "Shape: Disk", "Wound: Tight", "Odd: Yes",
    ]  # fmt: skip
    page.get_by_role("button", name="Shape: Disk. Answer anew").click()
    assert page.locator("#choices [aria-pressed=true]").inner_text().endswith("Disk")
    press(page, "3")
    assert text(page, "status") == "1 of 2 labelled, 1 left"
    table = read_table(download(page, "csv", tmp_path))
    assert table[WOUND.label_cols].to_numpy().tolist() == [[0, 0, 0, 0, 1, 0, 0, 1, 0]]


def test_undo_takes_back_one_after_the_other(open_page):
    page = open_page(contents_to_label(RINGS, 4))
    assert page.locator("#undo").is_disabled()
    press(page, ["1", "2", "s"])
    assert text(page, "status") == "2 of 4 labelled, 1 unsure, 1 left"
    press(page, "u")
    assert text(page, "status") == "2 of 4 labelled, 2 left"
    assert text(page, "name") == "galaxy-00002"
    press(page, ["Control+z"])
    page.click("#undo")
    assert text(page, "status") == "0 of 4 labelled, 4 left"
    assert (text(page, "name"), text(page, "said")) == ("galaxy-00000", "Undone: galaxy-00000")
    press(page, ["u"])
    press(page, ["2", "ArrowLeft", "1", "u"])
    assert text(page, "name") == "galaxy-00000"
    assert page.locator("#choices [aria-pressed=true]").inner_text().endswith("not-ring")


def test_labels_outlive_a_reload_and_leaving_without_them_warns(browser, tmp_path):
    write_page(tmp_path / "page.html", contents_to_label(RINGS, 6))
    opened = OpenedPage(browser, tmp_path / "page.html")
    page = opened.page
    page.locator("#name").click()  # browsers warn only of pages that somebody used
    page.reload()
    assert opened.warned == 0
    press(page, ["1", "s"])
    page.locator("#name").click()
    page.reload()
    assert opened.warned == 1
    assert text(page, "status") == "1 of 6 labelled, 1 unsure, 4 left"
    assert text(page, "name") == "galaxy-00002"
    press(page, "u")
    assert text(page, "status") == "1 of 6 labelled, 5 left"
    press(page, "2")
    download(page, "csv", tmp_path)
    page.reload()
    assert opened.warned == 1
    assert not page.locator("#csv").get_attribute("class")  # nothing is due
    opened.check(loads=4)
    opened.context.close()


def test_two_pages_do_not_mix_and_two_tabs_of_one_do(browser, tmp_path):
    for name, count in (("one", 6), ("other", 5)):
        write_page(tmp_path / f"{name}.html", contents_to_label(RINGS, count))
    opened = OpenedPage(browser, tmp_path / "one.html")
    press(opened.page, ["1", "2"])
    second = opened.context.new_page()
    second.goto((tmp_path / "other.html").as_uri())
    assert text(second, "status") == "0 of 5 labelled, 5 left"
    press(second, "1")
    second.goto((tmp_path / "one.html").as_uri())
    assert text(second, "status") == "2 of 6 labelled, 4 left"
    press(second, "1")
    opened.page.locator("#status", has_text="3 of 6 labelled").wait_for()
    opened.check()
    opened.context.close()


@pytest.mark.parametrize(("script", "reason"), [(FULL, "storage is full"), (FORBIDDEN, "store nothing")])
def test_a_browser_that_keeps_nothing_says_so(browser, tmp_path, script, reason):
    write_page(tmp_path / "page.html", contents_to_label(RINGS, 3))
    opened = OpenedPage(browser, tmp_path / "page.html", script=script)
    press(opened.page, ["1", "2"])
    assert text(opened.page, "status") == "2 of 3 labelled, 1 left"
    assert reason in text(opened.page, "problem")
    assert "download them before you leave" in text(opened.page, "problem")
    assert len(read_table(download(opened.page, "csv", tmp_path))) == 2
    opened.check()
    opened.context.close()


def test_what_was_kept_and_is_damaged_is_told_of(browser, tmp_path):
    contents = contents_to_label(RINGS, 3)
    write_page(tmp_path / "page.html", contents)
    opened = OpenedPage(browser, tmp_path / "page.html")
    page = opened.page
    actions = ("[[9, 0, 0]]", "[[0, 0, 2]]", "[[0, 1, 0]]", "[[0, 0]]", '"no"')
    damaged = ["{", '{"actions": []}']
    damaged += [f'{{"actions": {one}, "downloaded": 0}}' for one in actions]
    for content in damaged:
        page.evaluate("([key, text]) => localStorage.setItem(key, text)", [RINGS.key(contents.ids), content])
        page.reload()
        assert "is damaged" in text(page, "problem")
        assert text(page, "status") == "0 of 3 labelled, 3 left"
    press(page, "1")
    assert page.locator("#problem").is_hidden()
    opened.check(loads=1 + len(damaged))
    opened.context.close()


def test_a_phone_labels_by_touch_and_swipes_to_move(open_page):
    page = open_page(contents_to_label(RINGS, 5), **PHONE)
    page.get_by_role("button", name="not-ring").tap()
    page.locator("#unsure").tap()
    assert text(page, "status") == "1 of 5 labelled, 1 unsure, 3 left"
    touch = page.context.new_cdp_session(page)

    def swipe(by):
        box = page.locator("#frame").bounding_box()
        start = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind, step in (("touchStart", 0), ("touchMove", 0.5), ("touchMove", 1), ("touchEnd", None)):
            place = [] if step is None else [{"x": start[0] + by[0] * step, "y": start[1] + by[1] * step}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": place})

    for by, name in (((100, 0), "1"), ((-100, 10), "2"), ((-100, 0), "3"), ((20, 0), "3"), ((0, -60), "3")):
        swipe(by)
        assert text(page, "name") == f"galaxy-0000{name}"
    page.locator("#undo").tap()
    assert text(page, "status") == "1 of 5 labelled, 4 left"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("document.getElementById('more').style.height = '3000px'; scrollTo(0, 1500)")
    assert page.evaluate("scrollY") == 1500
    assert 0 <= page.locator("#frame").bounding_box()["y"] < 50  # the galaxy stays in sight
    small = page.evaluate(
        """[...document.querySelectorAll('button')].filter(one => one.checkVisibility())
        .filter(one => one.getBoundingClientRect().height < 40).map(one => one.outerHTML)"""
    )
    assert small == []


@pytest.mark.parametrize(
    ("annotation", "keys"),
    [(RINGS, "1s2"), (ask_for_rating(), "5s0"), (ask_tree(TREE), "23s1")],
    ids=["classes", "rating", "tree"],
)
def test_a_file_is_loaded_to_go_on_elsewhere(open_page, tmp_path, annotation, keys):
    contents = contents_to_label(annotation, 4, ids=["0012", "=1+1", 'b,"', "d"])
    page, other = open_page(contents), open_page(contents)
    press(page, keys)
    press(other, "2")
    for button in ("csv", "json"):
        content = download(page, button, tmp_path).read_text(encoding="utf-8")
        load(other, content, f"labels.{button}")
        unsure = ", 1 unsure, 1 left" if button == "json" else ", 2 left"
        assert text(other, "status") == f"2 of 4 labelled{unsure}"
        assert "1 galaxy had others before" in text(other, "said")
        assert download(other, button, tmp_path).read_text(encoding="utf-8") == content
        press(other, "u")
        assert "Undone: the file that was read" in text(other, "said")


def votes_of(*votes):
    return f"id_str,{','.join(TREE.label_cols)}\ngalaxy-00000,{','.join(map(str, votes))}\n"


REFUSED = [
    (
        RINGS,
        {
            "id_str,label\r\ngalaxy-00000,bar\r\n": '"galaxy-00000" is "bar", which is no answer here',
            "id_str,kind\ngalaxy-00000,ring\n": "it has no column label",
            "label\nring\n": "it has no column id_str",
            "": "it is empty",
            "{": "can't be read",
            "[1]": "it is no list of galaxies",
            '{"rows": []}': "it is no list of galaxies",
        },
    ),
    (
        ask_for_rating(),
        {
            "id_str,rating\ngalaxy-00000,2.5\n": "is no answer here",
            '[{"id_str": "galaxy-00000", "rating": true}]': "is no answer here",
            'id_str,rating\ngalaxy-00000," "\n': "Read answers of 0 galaxies",
        },
    ),
    (
        ask_tree(TREE),
        {
            "id_str\ngalaxy-00000\n": "it has no column smooth-or-featured_smooth",
            votes_of(1, 1, 0, 0, 0): "other votes than those of one person",
            votes_of(40, 0, 0, 0, 0): "other votes than those of one person",
            votes_of(1, 0, 1, 0, 0): "to which its other answers do not lead",
        },
    ),
]


@pytest.mark.parametrize(("annotation", "refused"), REFUSED, ids=["classes", "rating", "tree"])
def test_a_file_of_other_labels_is_refused_whole(open_page, annotation, refused):
    page = open_page(contents_to_label(annotation, 3))
    for content, said in refused.items():
        load(page, content)
        assert said in text(page, "said")
        press(page, ["ArrowRight"])  # says something else
    assert text(page, "status") == "0 of 3 labelled, 3 left"


def test_a_file_that_a_spreadsheet_saved_is_loaded(open_page):
    page = open_page(contents_to_label(RINGS, 3, ids=["a", "b", "=c"]))
    load(page, '\ufeffid_str;label;"further; things"\na;ring;\n\'=c;"not-ring";x\nz;ring;\nb;;\n')
    assert text(page, "said") == "Read answers of 2 galaxies; 1 galaxy of the file are not on this page"
    assert text(page, "status") == "2 of 3 labelled, 1 left"


def test_hostile_names_are_shown_and_come_back_as_they_were(open_page, tmp_path):
    classes = [name.strip() for name in HOSTILE if name.strip() and "\ud800" not in name][:15]
    ids = [name for name in HOSTILE if name.isprintable() and "\ud800" not in name]
    ids += [" a", "b ", "c\td", '"', "'", "''=x", "1e5", "007", "-3", "a,b"]
    places = Positions(np.arange(len(ids), dtype=float), np.linspace(-90, 90, len(ids)))
    annotation = ask_for_class(classes, "label")
    page = open_page(contents_to_label(annotation, len(ids), ids=ids, title=HOSTILE[1], positions=places))
    keys = page.locator("#choices kbd").all_inner_texts()
    for row in range(len(ids)):
        press(page, keys[row % len(classes)].lower())
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    for button in ("csv", "json"):
        file = download(page, button, tmp_path)
        table = read_table(file, text_cols=["id_str", "label", "file_loc"])
        assert table["id_str"].tolist() == ids
        assert table["label"].tolist() == [classes[row % len(classes)] for row in range(len(ids))]
        np.testing.assert_array_equal(table["dec"], places.dec)


def test_links_lead_to_the_galaxy_and_are_followed_by_nobody_else(open_page):
    places = Positions(np.array([10.68470833, np.nan]), np.array([-41.26875, np.nan]))
    page = open_page(contents_to_label(RINGS, 2, positions=places))
    explorer = open_page(replace(make_contents(2), positions=places))
    explorer.locator("#galaxy-0").click()
    for links in (page.locator("#more .sky a"), explorer.locator("#details .sky a")):
        assert links.all_inner_texts() == ["Legacy Surveys", "Aladin Lite", "SIMBAD", "NED"]
        for link in links.all():
            assert link.get_attribute("rel") == "noopener noreferrer"
            assert link.get_attribute("target") == "_blank"
            assert "10.684708" in link.get_attribute("href")
            assert "-41.268750" in link.get_attribute("href")
    press(page, ["ArrowRight"])
    explorer.locator("#galaxy-1").click()
    assert text(page, "name") == explorer.locator("#details h2").inner_text() == "galaxy-00001"
    assert page.locator("#more .sky").count() == explorer.locator("#details .sky").count() == 0


def test_keys_held_down_label_one_galaxy_and_typing_labels_none(open_page):
    page = open_page(contents_to_label(RINGS, 40))
    for _ in range(5):
        page.keyboard.down("1")  # the second and later ones are repeats
    page.keyboard.up("1")
    page.locator("#choices button").first.focus()
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    assert text(page, "status") == "2 of 40 labelled, 38 left"
    assert page.evaluate("document.activeElement.parentElement.id") == "choices"  # the focus stays
    page.locator("#place").fill("12")
    page.keyboard.press("Enter")
    assert text(page, "name") == "galaxy-00011"
    press(page, ["Control+1", "Alt+2"])
    assert text(page, "status") == "2 of 40 labelled, 38 left"
    page.locator("#place").blur()
    press(page, ["ArrowLeft", "2", "n"])
    assert text(page, "name") == "galaxy-00012"
    assert text(page, "status") == "3 of 40 labelled, 37 left"


def test_every_control_has_a_name_in_both_themes(open_page):
    page = open_page(contents_to_label(ask_tree(TREE), 3), color_scheme="dark")
    press(page, "2")
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, progress, [role=group]')]
        .filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length
          || one.getAttribute('aria-labelledby')))
        .map(one => one.outerHTML)"""
    )
    assert nameless == []
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.click("#theme")
    assert page.evaluate(background) != before
