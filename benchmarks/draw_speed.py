"""Draw how fast Zoobot is beside its bars and limits, from the records in benchmarks/results.

    python benchmarks/draw_speed.py --readme README.md

Writes results/speed.png, and prints the same as a Markdown table, which the site shows. With a page, puts
what it says in brief there, and what finetuning reaches, each between two comments. Nothing is measured here,
and no figure but the bars is written here: `speed_rows.py` and `score_rows.py` say where each comes from.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from score_rows import brief_scores_table
from speed_rows import PANELS, Panel, Speed, measure_rows, read_records

from zoobot.plots.style import ACCENT, GREY, INK, MAIN, new_figure, save_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
REACHED, SHORT = MAIN, ACCENT


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--plot", type=Path, help="draw there; default: speed.png in that folder")
    parser.add_argument("--readme", type=Path, help="put the brief tables there, instead of printing")
    options = parser.parse_args()
    speeds = measure_rows(read_records(options.results))
    draw(speeds, options.plot or options.results / "speed.png")
    if options.readme:
        put_table(options.readme, "speed", brief_table(speeds))
        put_table(options.readme, "scores", brief_scores_table(options.results))
    else:
        print(markdown_table(speeds))


def put_table(page: Path, name: str, table: str) -> None:
    """Replace what stands between the page's two comments of that name."""
    marks = f"<!-- {name} table -->", f"<!-- end of the {name} table -->"
    before, begin, rest = page.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not end:
        msg = f"expected {marks[0]!r} and {marks[1]!r} in {page}; put them where the table is to stand"
        raise SystemExit(msg)
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def markdown_table(speeds: list[Speed]) -> str:
    """All rows: work, what is measured, the bar, and how much of its limit is reached."""
    lines = [
        "| work | measured | bar | beside | limit, and how much of it is reached |",
        "|---|---|---|---|---|",
    ]
    for speed in speeds:
        row, panel = speed.row, PANELS[speed.row.panel]
        measured = "not measured" if speed.measured is None else panel.say(speed.measured)
        short = " (short of it)" if speed.is_met is False else ""
        limit = "–"
        if speed.of_limit is not None:
            limit = f"{row.limit}: {PANELS['share'].say(speed.of_limit)}"
        elif row.panel == "share":
            limit = f"that one: {measured}"
        work = speed.work.replace("\n", ", ")
        lines.append(f"| {work} | {measured}{short} | {panel.say_bar(row.bar)} | {row.against} | {limit} |")
    return "\n".join(lines)


def brief_table(speeds: list[Speed]) -> str:
    """The rows beside the public zoobot: work, and how many times as fast."""
    lines = ["| work | times as fast |", "|---|---|"]
    for speed in speeds:
        if speed.row.against.startswith("the public zoobot") and speed.measured is not None:
            work = speed.work.replace("\n", ", ")
            lines.append(f"| {work} | {PANELS['faster'].say(speed.measured)} |")
    return "\n".join(lines)


def draw(speeds: list[Speed], path: Path) -> None:
    """A panel for each scale, a bar for each row, and a mark where it must end."""
    panels = {name: [s for s in speeds if s.row.panel == name] for name in PANELS}
    heights = [len(rows) + 0.9 for rows in panels.values()]
    figure = new_figure(7.6, 0.36 * sum(heights) + 0.6)
    grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
    for place, (name, rows) in enumerate(panels.items()):
        draw_panel(figure.add_subplot(grid[place]), PANELS[name], rows)
    explain_marks(figure)
    figure.get_layout_engine().set(rect=(0, 0, 0.975, 1))  # room for the words beside the bars
    save_figure(figure, path, dpi=130, pil_kwargs={"optimize": True})


def draw_panel(axes: Axes, panel: Panel, rows: list[Speed]) -> None:
    """The bars of one scale, and beside each what it says and what it must say."""
    tidy(axes, title=panel.title)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    start = set_scale(axes, panel, rows)
    beside = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "right", "clip_on": False}
    for place, speed in enumerate(rows):
        bar = speed.row.bar * panel.factor
        axes.plot([bar, bar], [place - 0.42, place + 0.42], color=INK, linewidth=2, solid_capstyle="butt")
        axes.text(1.22, place, panel.say_bar(speed.row.bar), fontsize=8, color=GREY, **beside)
        if speed.measured is None:
            axes.text(start, place, " not measured", va="center", fontsize=8, color=GREY, style="italic")
            continue
        width = max(speed.measured * panel.factor - start, 0.0)
        axes.barh(place, width, left=start, height=0.6, color=REACHED if speed.is_met else SHORT)
        axes.text(1.09, place, panel.say(speed.measured), fontsize=9, color=INK, weight="bold", **beside)
    axes.set_yticks(range(len(rows)), [s.work for s in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def set_scale(axes: Axes, panel: Panel, rows: list[Speed]) -> float:
    """Set the axis to hold all bars and marks, and return where bars begin."""
    values = [value for s in rows for value in (s.row.bar, s.measured) if value is not None]
    highest = max(values) * panel.factor
    if panel.logarithmic:
        start = min(1.0, min(values) * panel.factor)
        axes.set_xscale("log")
        ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if start <= t < highest * 1.1]
        axes.set_xticks(ticks, [f"{t}{panel.unit}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlim(start, highest * 1.1)
        return start
    axes.set_xlim(0, highest * 1.05)
    axes.xaxis.set_major_formatter(f"{{x:.0f}}{panel.unit}")
    return 0.0


def explain_marks(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(color=REACHED, label="bar reached"),
        Patch(color=SHORT, label="short of it"),
        Line2D([], [], color=INK, linewidth=2, label="the bar"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3, frameon=False, fontsize=8)


if __name__ == "__main__":
    main()
