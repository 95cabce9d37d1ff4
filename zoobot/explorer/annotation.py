"""What a page asks of each galaxy, the file that the answers become, and where the galaxy is on the sky."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoobot.plots import question_titles
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from zoobot.shared.trees.tree import Schema

AnnotationKind = Literal["classes", "rating", "tree"]

#: What else stands in the file of labels, so that no label may be called so.
TAKEN = ("id_str", "file_loc", "ra", "dec")
#: As many answers as there are keys for them: see `KEYS` in page/annotate.js.
MOST_ANSWERS = 30


class Asked(NamedTuple):
    """A question.

    Attributes:
        title: In words; empty where there is but one.
        answers: In words, in order.
        parents: (question, answer) of each answer after which it is asked; none if it is asked of everyone.
    """

    title: str
    answers: list[str]
    parents: list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What a page asks of each galaxy.

    Args:
        kind: "classes" or "rating", one question, or "tree".
        questions: In the order in which they are asked.
        column: Of the file, for the answer; of a tree empty.
        values: What stands there for each answer; of a tree, the column of each answer of all questions, for
            votes.
    """

    kind: AnnotationKind
    questions: list[Asked]
    column: str
    values: list[str]

    def key(self, ids: Sequence[str]) -> str:
        """Under which name a browser keeps the answers of these galaxies: other pages have other names."""
        told = [self.kind, self.questions, self.column, self.values, list(ids)]
        return f"zoobot-labels-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}"


def ask_for_class(names: Sequence[str], column: str) -> Annotation:
    """The question which class a galaxy is of.

    Args:
        names: The classes.
        column: Of the file.

    Raises:
        ConfigError: If there are fewer than two classes, too many, or one is empty or named twice.
    """
    if not 2 <= len(names) <= MOST_ANSWERS:
        raise ConfigError(f"a page asks for one of 2 to {MOST_ANSWERS} classes, got {len(names)}: {names}")
    if len(set(names)) < len(names) or any(not name or name != name.strip() for name in names):
        raise ConfigError(f"classes must have different names, without blanks around them, got {list(names)}")
    if column in TAKEN or not column.strip():
        raise ConfigError(f"the column of labels can't be called {column!r}: that is another's in the file")
    return Annotation(kind="classes", questions=[Asked("", list(names), [])], column=column, values=[*names])


def ask_for_rating() -> Annotation:
    """The question how interesting a galaxy is, as `zoobot rate` takes it."""
    top = int(defaults.TOP_RATING)
    ratings = [str(rating) for rating in range(top + 1)]
    ends = {0: "0 dull", top: f"{top} most interesting"}
    titles = [ends.get(rating, str(rating)) for rating in range(top + 1)]
    return Annotation(kind="rating", questions=[Asked("", titles, [])], column="rating", values=ratings)


def ask_tree(schema: Schema) -> Annotation:
    """The questions of a decision tree, each of which is asked after the answers that lead to it.

    Raises:
        ConfigError: If a question has more answers than there are keys.
    """
    place = {
        answer.label_col: (number, one)
        for number, question in enumerate(schema.questions)
        for one, answer in enumerate(question.answers)
    }
    asked = []
    for title, question in zip(question_titles(schema), schema.questions, strict=True):
        if len(question.answers) > MOST_ANSWERS:
            count = len(question.answers)
            raise ConfigError(f"a page asks for one of {MOST_ANSWERS} answers; {question.text!r} has {count}")
        answers = [answer.pretty for answer in question.answers]
        asked.append(Asked(title, answers, [place[parent] for parent in question.parents]))
    return Annotation(kind="tree", questions=asked, column="", values=schema.label_cols)


# Where each galaxy is on the sky, and who shows that place.


class Positions(NamedTuple):
    """Where galaxies are.

    Attributes:
        ra: Right ascension in degrees, (galaxies,); NaN where unknown.
        dec: Declination in degrees, likewise.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]


#: Whom a galaxy's links lead to, and the address of a place there. A page opens none by itself.
SKY_LINKS = (
    ("Legacy Surveys", "https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&layer=ls-dr10&zoom=15&mark={ra},{dec}"),
    ("Aladin Lite", "https://aladin.cds.unistra.fr/AladinLite/?target={ra}%20{dec}&fov=0.05"),
    (
        "SIMBAD",
        "https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra}%20{dec}&CooFrame=ICRS&Radius=10&Radius.unit=arcsec",
    ),
    (
        "NED",
        "https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search&in_csys=Equatorial"
        "&in_equinox=J2000&ra={ra}d&dec={dec}d&radius=0.25",
    ),
)  # fmt: skip


def known_positions(ra: NDArray, dec: NDArray) -> tuple[Positions, int]:
    """The positions that can be, right ascension from 0 to 360 degrees, and how many can't.

    Example:
        >>> import numpy as np
        >>> found, odd = known_positions(np.array([-1.0, 10.0, np.nan]), np.array([2.0, 91.0, np.nan]))
        >>> found.ra.tolist(), found.dec.tolist(), odd
        ([359.0, nan, nan], [2.0, nan, nan], 1)
    """
    can_be = (np.abs(ra) <= 360) & (np.abs(dec) <= 90)
    odd = int((~can_be & ~(np.isnan(ra) & np.isnan(dec))).sum())
    return Positions(np.where(can_be, ra, np.nan) % 360, np.where(can_be, dec, np.nan)), odd
