r"""Does a page of 5,000 galaxies scroll, sort, filter and label galaxies without lag, and how large is it?

    python benchmarks/bench_explorer.py --data DATA --json benchmarks/results/explorer.json

With DATA (a folder of labelled surveys: see benchmarks/README.md) the pictures are real galaxies, without it
simulated ones. What is predicted is drawn at random: 37 answers of Galaxy Zoo 2's tree with intervals and
votes, and features of 320 numbers for the look-alikes. The browser is the machine's Chromium, headless and
without a GPU, so that its frames are slower than those people see. Needs `.[test]`.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from timing import write_record

from zoobot.explorer import (
    Contents,
    ask_tree,
    describe_predictions,
    find_neighbours,
    make_thumbnails,
    write_page,
)
from zoobot.shared import schemas
from zoobot.shared.augment import make_view
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import TreeTask
from zoobot.simulate import simulate_survey

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
READING = Preprocessing(image_size_pix=160, crop_fraction=0.6)
LABELLED = Preprocessing(image_size_pix=256, crop_fraction=0.6)
SIMULATED = 200
ON_A_SHEET = 100
SLOW_FRAME_MS = 50
KEYS = 100

# One step of scrolling in each frame; the time from frame to frame is what people see as lag.
SCROLL = """async ([frames, step]) => {
  const grid = document.getElementById('grid');
  const next = () => new Promise(requestAnimationFrame);
  grid.scrollTop = 0;
  let before = await next();
  const times = [];
  for (let frame = 0; frame < frames; frame++) {
    grid.scrollTop += step;
    const now = await next();
    times.push(now - before);
    before = now;
  }
  return times;
}"""

# From the change of a control to the finished layout.
CHANGE = """async ([id, kind, value]) => {
  const control = document.querySelector(id);
  const start = performance.now();
  control.value = value;
  control.dispatchEvent(new Event(kind));
  document.getElementById('cards').getBoundingClientRect();
  return performance.now() - start;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="folder of the labelled surveys; without it, simulated galaxies"
    )
    parser.add_argument("--galaxies", type=int, default=5000)
    parser.add_argument("--quick", action="store_true", help="few galaxies and frames: does it run at all?")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    count, frames = (60, 10) if args.quick else (args.galaxies, 600)
    with tempfile.TemporaryDirectory(prefix="bench-explorer-") as folder:
        paths = galaxy_images(args.data, Path(folder), 20 if args.quick else SIMULATED)
        page = Path(folder) / "page.html"
        results: dict[str, Any] = {"making": make_page(paths, count, page)}
        results["pictures"] = picture_sizes(paths[: 20 if args.quick else 300])
        results["browser"] = look(page, frames)
        results["labelling"] = label(paths, count, page.with_name("labels.html"))
    print(table(results))
    if args.json:
        settings = {"galaxies": count, "frames": frames, "real_galaxies": len(paths) if args.data else 0}
        write_record(
            args.json, "explorer", settings, results, "numpy", "pillow", "scikit-learn", "playwright"
        )


def galaxy_images(data: Path | None, folder: Path, simulated: int) -> list[str]:
    """The images: a survey's, or simulated ones."""
    if data is None:
        catalog = simulate_survey(folder / "survey", n_galaxies=simulated, image_size_pix=160)
        catalogs = [catalog]
    else:
        catalogs = [data / name / "catalog.csv" for name in ("gz2_votes", "gz2_votes_extra")]
    return [str(catalog.parent / name) for catalog in catalogs for name in pd.read_csv(catalog)["file_loc"]]


def make_page(paths: list[str], count: int, page: Path) -> dict[str, float]:
    """Write the page; the seconds of each step, and its size. Few pictures come round again."""
    draws = np.random.default_rng(1)
    schema = schemas.get("gz2")
    seconds = {}
    start = time.perf_counter()
    concentrations = draws.gamma(2.0, 8.0, (1, count, len(schema.label_cols))) + 1
    votes = draws.integers(0, 20, concentrations.shape[1:]).astype(float)
    described = describe_predictions(TreeTask(schema=schema), concentrations, votes, level=0.9)
    seconds["intervals_s"] = time.perf_counter() - start
    start = time.perf_counter()
    ids = [f"J{number:07d}" for number in range(count)]
    near = find_neighbours(ids, ids, draws.normal(size=(count, 320)), count=12)
    seconds["neighbours_s"] = time.perf_counter() - start
    start = time.perf_counter()
    thumbnails = make_thumbnails(
        [paths[row % len(paths)] for row in range(count)], READING, num_workers=2, progress=False
    )
    seconds["pictures_s"] = time.perf_counter() - start
    start = time.perf_counter()
    contents = Contents(
        title="benchmark",
        facts=[],
        ids=ids,
        columns=described.columns,
        charts=described.charts,
        texts=described.texts,
        thumbnails=thumbnails,
        neighbours=near,
    )
    write_page(page, contents)
    seconds["writing_s"] = time.perf_counter() - start
    pictures = sum(len(one or "") for one in thumbnails.pictures) / 1e6
    return {**seconds, "file_mb": page.stat().st_size / 1e6, "of_which_pictures_mb": pictures}


def picture_sizes(paths: list[str]) -> dict[str, float]:
    """Mean bytes of a picture, alone and on sheets of a hundred, as JPEG and as WebP, both of quality 85."""
    views = [make_view(read_image(path, READING), READING) for path in paths]
    sheets = [views[start : start + ON_A_SHEET] for start in range(0, len(views), ON_A_SHEET)]
    joined = [np.concatenate(sheet, axis=0) for sheet in sheets]
    found = {}
    for form in ("JPEG", "WEBP"):
        found[f"{form.lower()}_alone_bytes"] = sum(size(view, form) for view in views) / len(views)
        found[f"{form.lower()}_on_sheets_bytes"] = sum(size(sheet, form) for sheet in joined) / len(views)
    return found


def size(pixels: np.ndarray, form: str) -> int:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, quality=85)
    return buffer.tell()


def look(page: Path, frames: int) -> dict[str, Any] | str:
    """What happens in a browser; a word where there is none."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        return "no Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        opened = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        opened.goto(page.as_uri())
        opened.wait_for_selector(".card")
        found: dict[str, Any] = {
            "chromium": browser.version,
            "until_first_cards_s": time.perf_counter() - start,
        }
        session = opened.context.new_cdp_session(opened)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for name, step in (("idle", 0), ("scrolling", 120), ("scrolling_fast", 400)):
            before, busy = cpu_seconds(browser), main_thread_seconds(session)
            found[name] = frame_times(opened.evaluate(SCROLL, [frames, step]))
            found[name]["cpu_ms"] = 1e3 * (cpu_seconds(browser) - before) / frames
            found[name]["main_thread_cpu_ms"] = 1e3 * (main_thread_seconds(session) - busy) / frames
        found["sort_ms"] = opened.evaluate(CHANGE, ["#sort", "change", "1"])
        found["search_ms"] = opened.evaluate(CHANGE, ["#search", "input", "J"])
        found["filter_ms"] = opened.evaluate(CHANGE, [".facet input[type=number]", "change", "40"])
        found["cards_in_document"] = opened.locator(".card").count()
        found["elements"] = opened.evaluate("document.querySelectorAll('*').length")
        found["heap_mb"] = opened.evaluate("performance.memory.usedJSHeapSize / 1e6")
        browser.close()
    return found


def label(paths: list[str], count: int, page: Path) -> dict[str, Any]:
    """A page that asks GZ2's questions of each galaxy: its size, and what a browser needs for it."""
    chosen = [paths[row % len(paths)] for row in range(count)]
    contents = Contents(
        title="benchmark",
        facts=[],
        ids=[f"J{number:07d}" for number in range(count)],
        columns=[],
        charts=[],
        thumbnails=make_thumbnails(chosen, LABELLED, num_workers=2, progress=False),
        annotation=ask_tree(schemas.get("gz2")),
    )
    write_page(page, contents)
    found: dict[str, Any] = {"file_mb": page.stat().st_size / 1e6}
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        opened = browser.new_page(viewport={"width": 1440, "height": 900})
        session = opened.context.new_cdp_session(opened)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        start = time.perf_counter()
        opened.goto(page.as_uri())
        opened.wait_for_selector("#frame img")
        found["until_first_galaxy_s"] = time.perf_counter() - start
        found["main_thread_until_then_s"] = main_thread_seconds(session)
        found["heap_mb"] = opened.evaluate("performance.memory.usedJSHeapSize / 1e6")
        before = main_thread_seconds(session)
        for _ in range(KEYS):
            opened.keyboard.press("1")
        found["main_thread_of_a_key_ms"] = 1e3 * (main_thread_seconds(session) - before) / KEYS
        browser.close()
    return found


def cpu_seconds(browser: Any) -> float:
    """CPU time of all the browser's processes so far."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    return sum(process["cpuTime"] for process in told["processInfo"])


def main_thread_seconds(session: Any) -> float:
    """CPU time of the thread that runs the page's script, style, layout and painting."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def frame_times(times: list[float]) -> dict[str, float]:
    return {
        "median_ms": float(np.median(times)),
        "p95_ms": float(np.percentile(times, 95)),
        "worst_ms": max(times),
        "slow_frames": float(np.mean(np.array(times) > SLOW_FRAME_MS)),
    }


def table(results: dict[str, Any]) -> str:
    """All figures, one a line."""
    lines = []
    for part, figures in results.items():
        if isinstance(figures, str):
            lines.append(f"{part}: {figures}")
            continue
        for name, value in figures.items():
            inner = value if isinstance(value, dict) else {"": value}
            for word, number in inner.items():
                shown = f"{number:,.2f}" if isinstance(number, float) else number
                lines.append(f"{part:<10} {f'{name} {word}':<32} {shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
