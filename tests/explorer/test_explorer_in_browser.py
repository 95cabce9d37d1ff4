"""Explorer pages at work, in a real browser."""

import csv
import io

import numpy as np
import pytest
from explorer_contents import HOSTILE, make_contents
from opened_page import OpenedPage

from zoobot.explorer import Column, Contents, Text, Thumbnails, describe_predictions, write_page
from zoobot.shared.schemas import get
from zoobot.shared.tasks import ClassificationTask, RegressionTask, TreeTask


def status(page):
    return page.locator("#status").inner_text()


def order(page):
    """The ids of the cards in sight, from the top left."""
    cards = page.evaluate(
        """[...document.querySelectorAll('.card')]
        .map(card => [Number(card.dataset.place), card.querySelector('.name').textContent])"""
    )
    return [name for _, name in sorted(cards)]


def downloaded(page):
    with page.expect_download() as waiting:
        page.click("#download")
    path = waiting.value.path()
    return waiting.value.suggested_filename, path.read_bytes()


def visible(name):
    """A name as the page shows it: control characters as pictures of them."""
    return "".join(chr(0x2400 + ord(mark)) if mark < " " else mark for mark in name)


def values(contents, name):
    return next(np.float32(column.values) for column in contents.columns if column.name == name)


def test_only_cards_in_sight_are_in_the_document(open_page):
    page = open_page(make_contents(5000))
    assert status(page) == "5,000 galaxies"
    assert 0 < page.locator(".card").count() < 60
    page.locator("#grid").focus()
    page.keyboard.press("End")
    assert "galaxy-04999" in order(page)
    assert page.locator(".card").count() < 60
    page.keyboard.press("Home")
    assert order(page)[0] == "galaxy-00000"


def test_sorting_by_an_answer_puts_the_unknown_last(open_page):
    contents = make_contents(40)
    column = next(k for k, one in enumerate(contents.columns) if one.name == "bar_strong_fraction")
    known = values(contents, "bar_strong_fraction")
    assert 0 < np.isnan(known).sum() < 40
    page = open_page(contents, viewport={"width": 2600, "height": 2600})
    page.select_option("#sort", str(column))
    expected = np.argsort(np.where(np.isnan(known), np.inf, -known), kind="stable")
    assert order(page) == [contents.ids[row] for row in expected]
    page.click("#direction")
    expected = np.argsort(np.where(np.isnan(known), np.inf, known), kind="stable")
    assert order(page) == [contents.ids[row] for row in expected]
    page.select_option("#sort", "-2")
    assert order(page) == sorted(contents.ids)


def test_filtering_by_ranges_of_answers(open_page):
    contents = make_contents(300)
    smooth, strong = (
        values(contents, f"{name}_fraction") for name in ("smooth-or-featured_smooth", "bar_strong")
    )
    page = open_page(contents)
    page.get_by_label("Smooth or featured: Smooth, from, percent").fill("30")
    page.keyboard.press("Enter")
    passed = smooth >= 0.3
    assert status(page) == f"{passed.sum()} of 300 galaxies"
    page.locator("summary", has_text="Bar").click()
    page.get_by_label("Bar: Strong, to, percent").fill("40")
    page.keyboard.press("Enter")
    with np.errstate(invalid="ignore"):
        passed &= strong <= 0.4
    assert status(page) == f"{passed.sum()} of 300 galaxies"
    assert page.locator("#chips button").count() == 2
    page.locator("#chips button").first.click()
    with np.errstate(invalid="ignore"):
        assert status(page) == f"{(strong <= 0.4).sum()} of 300 galaxies"
    assert page.get_by_label("Smooth or featured: Smooth, from, percent").input_value() == ""
    handle = page.get_by_label("Bar: Weak, from")
    handle.first.focus()
    page.keyboard.press("ArrowRight")
    assert "Bar: Weak ≥" in page.locator("#chips").inner_text()


def test_no_galaxy_left_says_so_and_goes_back(open_page):
    page = open_page(make_contents(20))
    page.fill("#search", "no such galaxy")
    assert status(page) == "0 of 20 galaxies"
    assert page.locator(".card").count() == 0
    assert page.locator("#nothing").is_visible()
    page.locator("#grid").focus()
    for key in ("Enter", " ", "ArrowDown", "End", "Control+a"):
        page.keyboard.press(key)
    assert page.locator("#select-shown").is_disabled()
    page.click("#reset")
    assert status(page) == "20 galaxies"
    assert page.locator("#nothing").is_hidden()


def test_searching_ids(open_page):
    page = open_page(make_contents(2000))
    page.fill("#search", "GALAXY-0012")
    assert status(page) == "10 of 2,000 galaxies"
    assert order(page) == [f"galaxy-0012{digit}" for digit in range(10)]


def test_a_click_opens_a_galaxy_with_its_tree_and_its_neighbours(open_page):
    contents = make_contents(60)
    asked = values(contents, "bar_asked")
    row = int(np.flatnonzero(np.isfinite(values(contents, "bar_strong_fraction")))[0])
    page = open_page(contents, viewport={"width": 2600, "height": 2600})
    page.locator(f"#galaxy-{row}").click()
    details = page.locator("#details")
    assert details.locator("h2").inner_text() == contents.ids[row]
    assert (
        details.locator(".chart .chart h3").inner_text().replace("\n", " ") == f"Bar asked {asked[row]:.0%}"
    )
    text = details.locator(".chart .chart li").first.inner_text()
    strong = values(contents, "bar_strong_fraction")[row]
    assert f"{strong:.0%}" in text
    assert "label" in text
    neighbours = details.locator(".neighbours button")
    assert neighbours.count() == 3
    neighbours.nth(1).click()
    assert details.locator("h2").inner_text() == contents.ids[contents.neighbours.rows[row, 1]]
    page.get_by_role("button", name="Show only the galaxies most like").click()
    assert status(page) == "4 of 60 galaxies"
    page.keyboard.press("Escape")
    assert details.is_hidden()


def test_the_keyboard_is_enough(open_page):
    page = open_page(make_contents(500))
    grid = page.locator("#grid")
    grid.focus()
    page.keyboard.press("ArrowRight")
    active = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-posinset") == "2"
    assert active.get_attribute("aria-setsize") == "500"
    assert active.get_attribute("aria-label").startswith("galaxy-00001, Smooth or featured: ")
    page.keyboard.press(" ")
    assert active.get_attribute("aria-selected") == "true"
    assert status(page) == "500 galaxies, 1 selected"
    page.keyboard.press("Enter")
    assert page.locator("#details h2").inner_text() == "galaxy-00001"
    assert page.evaluate("document.activeElement.id") == "details"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "grid"
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowDown")
    assert int(page.locator(".card.active").get_attribute("data-place")) > 5
    page.keyboard.press("Control+a")
    assert status(page) == "500 galaxies, 500 selected"


def test_every_control_has_a_name(open_page):
    page = open_page(make_contents(30))
    page.locator(".card").first.click()
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, select, summary, [role=option]')]
        .filter(one => one.checkVisibility())
        .filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))
        .map(one => one.outerHTML)"""
    )
    assert nameless == []


def test_the_selection_comes_as_csv(open_page):
    contents = make_contents(50)
    page = open_page(contents)
    assert page.locator("#download").is_disabled()
    for place in (3, 1):
        page.locator(f"#galaxy-{place}").hover()
        page.locator(f"#galaxy-{place} .tick").click()
    page.click("#only-selected")
    assert order(page) == ["galaxy-00001", "galaxy-00003"]
    name, data = downloaded(page)
    assert name == "galaxies_selection.csv"
    assert data.count(b"\r\n") == data.count(b"\n") == 3
    rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
    assert rows[0] == ["id_str", *(column.name for column in contents.columns)]
    assert [row[0] for row in rows[1:]] == ["galaxy-00001", "galaxy-00003"]
    for row, galaxy in zip(rows[1:], (1, 3), strict=True):
        for text, column in zip(row[1:], contents.columns, strict=True):
            value = np.float32(column.values[galaxy])
            assert text == "" if np.isnan(value) else np.isclose(float(text), value, rtol=1e-6)
    page.click("#clear")
    assert status(page) == "0 of 50 galaxies"


def test_hostile_names_are_shown_and_not_obeyed(open_page):
    contents = make_contents(len(HOSTILE), ids=HOSTILE, title=HOSTILE[1])
    contents.texts.append(Text(HOSTILE[1], HOSTILE[2], list(HOSTILE)))
    contents.columns.append(Column(HOSTILE[4], HOSTILE[0], np.arange(len(HOSTILE), dtype=float)))
    contents.facts.append((HOSTILE[0], HOSTILE[1]))
    page = open_page(contents, viewport={"width": 2600, "height": 1600})
    names = order(page)
    assert names[0] == HOSTILE[0]
    assert names[10] == "nul ␀ bell ␇ escape ␛"
    page.locator("summary", has_text="More").click()
    for place in range(len(HOSTILE)):
        page.locator(f"#galaxy-{place}").click()
        assert page.locator("#details h2").text_content() == visible(HOSTILE[place])
    page.locator(".facet.words input").first.check()
    page.click("#select-shown")
    page.click("#chips button")
    page.click("#select-shown")
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    _, data = downloaded(page)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
    assert len(rows) == len(HOSTILE) + 1
    assert {len(row) for row in rows} == {2 + len(contents.columns)}
    for given, row in zip(HOSTILE, rows[1:], strict=True):
        is_formula = given[0] in "=+-@\t" and given != "-12.5"
        assert row[0] == ("'" if is_formula else "") + given.replace("\ud800", "\ufffd")
    assert rows[0][-1].startswith("'=HYPERLINK")


def test_one_galaxy_without_a_picture(open_page):
    contents = make_contents(1)
    contents = Contents(**{**vars(contents), "thumbnails": Thumbnails.none(1, "it is <b>empty</b>")})
    page = open_page(contents)
    assert status(page) == "1 galaxy"
    page.locator(".card").click()
    assert page.locator("#details .reason").inner_text() == "it is <b>empty</b>"
    assert page.locator("img").count() == 0


def test_galaxies_without_a_prediction(open_page):
    task = RegressionTask(num_targets=1, label_cols=("T",))
    described = describe_predictions(task, np.array([[[np.nan], [2.0]]]), np.full((2, 1), np.nan), level=0.9)
    contents = Contents(
        title="T", facts=[], ids=["a", "b"], columns=described.columns, charts=described.charts,
        thumbnails=Thumbnails.none(2, "why"),
    )  # fmt: skip
    page = open_page(contents)
    page.select_option("#sort", "0")
    assert order(page) == ["b", "a"]
    assert "no prediction" in page.locator("#galaxy-0").inner_text()
    page.locator("#galaxy-0").click()
    assert "no prediction" in page.locator("#details").inner_text()


def test_classes_can_be_filtered_by_name_and_the_label_is_marked(open_page):
    task = ClassificationTask(class_names=("ring", "a <b>"), label_cols=("kind",))
    samples = np.array([[[0.2, 0.8], [0.9, 0.1], [0.7, 0.3]]])
    described = describe_predictions(task, samples, np.array([[0.0], [0.0], [np.nan]]), level=0.9)
    contents = Contents(
        title="kinds", facts=[], ids=["a", "b", "c"], columns=described.columns, charts=described.charts,
        texts=described.texts, thumbnails=Thumbnails.none(3, "why"),
    )  # fmt: skip
    page = open_page(contents)
    page.locator("#galaxy-0").click()
    assert page.locator("#details li", has_text="ring").locator(".mark").count() == 1
    assert page.locator("#details li", has_text="a <b>").locator(".mark").count() == 0
    page.locator(".facet.words label", has_text="ring").first.locator("input").check()
    assert order(page) == ["b", "c"]


def test_a_tree_of_37_answers(open_page):
    schema = get("gz2")
    samples = np.full((1, 3, len(schema.label_cols)), 2.0)
    described = describe_predictions(
        TreeTask(schema=schema), samples, np.full(samples[0].shape, np.nan), level=0.9
    )
    contents = Contents(
        title="gz2", facts=[], ids=["a", "b", "c"], columns=described.columns, charts=described.charts,
        thumbnails=Thumbnails.none(3, "why"),
    )  # fmt: skip
    page = open_page(contents)
    assert page.locator("#facets details").count() == len(schema.questions)
    for summary in page.locator("#facets summary").all():
        if summary.evaluate("one => !one.parentElement.open"):
            summary.click()
    assert page.locator(".facet").count() >= len(schema.label_cols)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_dark_and_light(open_page, scheme):
    page = open_page(make_contents(5), color_scheme=scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    is_dark = "rgb(10, 13, 19)"
    assert (page.evaluate(ground) == is_dark) == (scheme == "dark")
    page.click("#theme")
    assert (page.evaluate(ground) == is_dark) == (scheme == "light")


def test_a_phone_shows_filters_and_details_over_the_galaxies(open_page):
    page = open_page(make_contents(100), viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#facets").is_hidden()
    page.tap("#filters-toggle")
    assert page.locator("#facets").is_visible()
    page.tap("#filters-toggle")
    page.locator(".card").first.tap()
    assert page.locator("#details").bounding_box()["width"] == 390
    page.get_by_role("button", name="Close").tap()
    assert page.locator("#details").is_hidden()


def test_a_plot_opens_and_filters_galaxies(open_page):
    task = RegressionTask(num_targets=1, label_cols=("T",))
    truth = np.linspace(-5, 10, 31)
    described = describe_predictions(task, truth[None, :, None] + 0.1, truth[:, None], level=0.9)
    contents = Contents(
        title="T", facts=[], ids=[f"g{k}" for k in range(31)], columns=described.columns,
        charts=described.charts, thumbnails=Thumbnails.none(31, "why"),
    )  # fmt: skip
    page = open_page(contents)
    page.click("#plot-toggle")
    assert page.locator("#plot-x").input_value() == "1"
    assert page.locator("#plot-y").input_value() == "0"
    box = page.locator("#points").bounding_box()
    left, right, top, bottom = (
        box["x"] + 56,
        box["x"] + box["width"] - 16,
        box["y"] + 16,
        box["y"] + box["height"] - 46,
    )
    middle = (left + right) / 2, (top + bottom) / 2
    page.mouse.click(*middle)
    assert page.locator("#details h2").inner_text() == "g15"
    page.get_by_role("button", name="Close").click()
    page.mouse.move(left - 5, bottom + 5)
    page.mouse.down()
    page.mouse.move(middle[0] + 2, middle[1] - 2, steps=4)
    page.mouse.up()
    assert status(page) == "16 of 31 galaxies"
    page.click("#plot-toggle")
    assert page.locator("#plot").is_hidden()
    assert order(page)[-1] == "g15"


def test_the_policy_stops_what_gets_into_a_page(browser, tmp_path):
    path = tmp_path / "page.html"
    write_page(path, make_contents(3))
    opened = OpenedPage(browser, path)
    for tag, attribute, value in (
        ("script", "textContent", "window.hacked = 1"),
        ("script", "src", "http://127.0.0.1:9/a.js"),
        ("img", "src", "http://127.0.0.1:9/a.png"),
        ("link", "href", "http://127.0.0.1:9/a.css"),
        ("iframe", "src", "http://127.0.0.1:9/"),
    ):
        opened.page.evaluate(
            """([tag, attribute, value]) => {
              const one = document.createElement(tag);
              if (tag === 'link') one.rel = 'stylesheet';
              one[attribute] = value;
              document.body.append(one);
            }""",
            [tag, attribute, value],
        )
    reached = opened.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'stopped')")
    assert reached == "stopped"
    assert len([text for text in opened.complaints if "Content Security Policy" in text]) >= 6
    asked = {url for url in opened.requests if url.startswith("http")}
    assert asked == {url for url, reason in opened.blocked if reason == "csp"}
    assert opened.page.evaluate("window.hacked") is None
    opened.context.close()
