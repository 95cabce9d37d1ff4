"""A decision tree as a picture: a box for each question, and a line from each answer to what it leads to.

It takes its colours from the page, in dark and in light.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoobot.shared.schemas import Question, Schema

_WIDTH, _GAP, _ROW, _PAD, _BETWEEN = 190, 50, 17, 7, 12


def draw_tree(schema: Schema) -> str:
    """The picture as SVG, to stand in a page of HTML."""
    depths = _depths(schema)
    tops = _tops(schema, depths)
    answers = {
        answer.label_col: (_left(depths[q.text]) + _WIDTH, tops[q.text] + _PAD + _ROW * (row + 1.5))
        for q in schema.questions
        for row, answer in enumerate(q.answers)
    }
    lines = [
        _line(answers[parent], (_left(depths[question.text]), tops[question.text] + _PAD + _ROW / 2))
        for question in schema.questions
        for parent in question.parents
    ]
    boxes = [_box(q, _left(depths[q.text]), tops[q.text]) for q in schema.questions]
    width = _left(max(depths.values())) + _WIDTH + 1
    height = max(tops[q.text] + _height(q) for q in schema.questions) + 1
    title = f"The decision tree {schema.name}"
    return (
        f'<svg class="drawn-tree" viewBox="-1 -1 {width + 2:g} {height + 2:g}" width="{width}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{"".join([*lines, *boxes])}</svg>'
    )


def _depths(schema: Schema) -> dict[str, int]:
    """How many questions come before each, on the longest way; parents are never after their children."""
    asked_by = {answer.label_col: answer.question for answer in schema.answers}
    depths: dict[str, int] = {}

    def depth(text: str) -> int:
        if text not in depths:
            parents = schema.get_question(text).parents
            depths[text] = 1 + max((depth(asked_by[parent]) for parent in parents), default=-1)
        return depths[text]

    for question in schema.questions:
        depth(question.text)
    return depths


def _tops(schema: Schema, depths: dict[str, int]) -> dict[str, float]:
    """Where each box begins: level with the first answer that leads there, if there is room."""
    free: dict[int, float] = {}
    tops: dict[str, float] = {}
    place = {}
    for question in sorted(schema.questions, key=lambda q: depths[q.text]):
        wanted = min((place[parent] for parent in question.parents), default=0.0)
        top = max(wanted - _ROW * 1.5, free.get(depths[question.text], 0.0))
        tops[question.text] = top
        free[depths[question.text]] = top + _height(question) + _BETWEEN
        place |= {a.label_col: top + _PAD + _ROW * (row + 1.5) for row, a in enumerate(question.answers)}
    return tops


def _left(depth: int) -> float:
    return depth * (_WIDTH + _GAP)


def _height(question: Question) -> float:
    return _ROW * (len(question.answers) + 1) + 2 * _PAD


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    bend = x + _GAP / 2 if to_x - x <= _GAP else to_x - _GAP / 2
    return f'<path d="M{x:g} {y:g} C{bend:g} {y:g} {bend:g} {to_y:g} {to_x:g} {to_y:g}"/>'


def _box(question: Question, x: float, y: float) -> str:
    words = [
        f'<text x="{x + _PAD:g}" y="{y + _PAD + _ROW * (row + 0.75):g}"{" class=asked" if row == 0 else ""}>'
        f"{escape(text)}</text>"
        for row, text in enumerate([question.text, *(answer.text for answer in question.answers)])
    ]
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_height(question):g}" rx="5"/>{"".join(words)}'
    )
