"""Pages of made galaxies, and a Chromium to look at them with, where there is one."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium of its own, with an empty profile."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium on this machine, in which pages could be tried")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Write contents as a page, or take one that is there, and open it; it is checked in the end."""
    from opened_page import OpenedPage

    from zoobot.explorer import write_page

    opened = []

    def open_contents(contents, **options):
        path = contents
        if not isinstance(contents, Path):
            path = tmp_path / f"page{len(opened)}.html"
            write_page(path, contents)
        opened.append(OpenedPage(browser, path, **options))
        return opened[-1].page

    yield open_contents
    for one in opened:
        one.check()
        one.context.close()
