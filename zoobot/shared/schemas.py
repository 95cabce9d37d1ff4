"""The schema of every Galaxy Zoo campaign, by name; `zoobot.shared.trees.tree` has what a schema can do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from zoobot.shared.errors import SchemaError
from zoobot.shared.trees import surveys
from zoobot.shared.trees import text as tree_text
from zoobot.shared.trees.questions import Answer, Question, not_found
from zoobot.shared.trees.tree import Schema

__all__ = ["Answer", "Question", "Schema", "describe", "get", "join", "names"]


def names() -> list[str]:
    """Our name of every Galaxy Zoo campaign, for `get`."""
    return list(surveys.CAMPAIGNS)


def get(name: str, *, legacy: bool = False) -> Schema:
    """The schema of a Galaxy Zoo campaign.

    Args:
        name: Our name (see `names`) or a public one, such as `decals_dr5_ortho_schema`.
        legacy: Give the parents as published, at most one each and a few wrong, instead of the corrected
            ones. `zoobot.shared.trees.surveys` says what differs; label columns are the same.

    Raises:
        SchemaError: If no campaign has that name; the message lists near names.

    Example:
        >>> get("gz_decals_dr5").get_question("merging-dr5").parents
        ('smooth-or-featured-dr5_smooth', 'smooth-or-featured-dr5_featured-or-disk')
        >>> get("gz_decals_dr5", legacy=True).get_question("merging-dr5").parents
        ()
    """
    return _build(_canonical(name), legacy)


def join(campaigns: Sequence[Schema], *, name: str | None = None) -> Schema:
    """One schema with the questions of several campaigns, each of which remembers its campaign.

    A galaxy has votes for the questions of its own campaigns only; the others are missing, and teach nothing.

    Args:
        campaigns: The schemas, in order; one that is itself a join keeps its campaigns.
        name: What to call the joined schema; by default the names with "+" between them.

    Raises:
        SchemaError: If none is given, or two ask a question of the same text.

    Example:
        >>> both = join([get("gz_rings"), get("gz2")])
        >>> both.name, list(both.campaigns)
        ('gz_rings+gz2', ['gz_rings', 'gz2'])
    """
    pairs: dict[str, list[str]] = {}
    parents: dict[str, tuple[str, ...]] = {}
    asked_by: dict[str, str] = {}
    for schema in campaigns:
        for question in schema.questions:
            text = question.text
            if text in pairs:
                raise SchemaError(
                    f"{schema.name} and {asked_by[text]} both ask {text!r}, and their votes would mix: use "
                    "the form of the schema whose questions end in the campaign's name (`zoobot schemas`)"
                )
            pairs[text] = [answer.text for answer in question.answers]
            parents[text] = question.parents
            asked_by[text] = question.campaign or schema.name
    joined = name or "+".join(schema.name for schema in campaigns)
    return Schema.from_pairs(pairs, parents, name=joined, campaigns=asked_by)


def describe(name: str) -> str:
    """A campaign in one line: what was looked at, the size of its tree, and the paper to cite.

    Raises:
        SchemaError: If no campaign has that name.

    Example:
        >>> describe("gz_rings")
        'rings in DECaLS images; 1 question, 2 answers (Walmsley et al. 2022, MNRAS 513, 1581)'
    """
    campaign = surveys.CAMPAIGNS[_canonical(name)]
    return f"{campaign.description}; {tree_text.size(get(name).questions)} ({campaign.reference})"


def _canonical(name: str) -> str:
    canonical = surveys.find_campaign(name)
    if canonical is None:
        msg = not_found("schema", name, names()) + "; a tree of your own is a .yaml file (Schema.from_yaml)"
        raise SchemaError(msg)
    return canonical


@cache
def _build(canonical: str, legacy: bool) -> Schema:
    rows = surveys.CAMPAIGNS[canonical].rows
    joined = surveys.CAMPAIGNS[canonical].joined
    return Schema.from_pairs(
        {row.question: row.answers for row in rows},
        {row.question: row.published_parents if legacy else row.parents for row in rows},
        name=f"{canonical} (legacy)" if legacy else canonical,
        campaigns={row.question: row.question.rpartition("-")[2] for row in rows} if joined else None,
    )


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Schema:
        """The public Zoobot's module attributes, such as `schemas.decals_dr5_ortho_schema`."""
        if not name.endswith("_schema") or surveys.find_campaign(name) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return get(name)
