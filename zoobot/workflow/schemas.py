"""Decision trees listed, drawn, and written to files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoobot.shared.schemas import Schema, describe, get, names
from zoobot.workflow.reporting import Reported
from zoobot.zooniverse.workflows import read_questions

if TYPE_CHECKING:
    from zoobot.options.schemas import SchemasOptions


@dataclass(frozen=True, kw_only=True, repr=False)
class SchemasResult(Reported):
    """Trees to read.

    Args:
        text: The trees that there are, one drawn, or where it was written.
        schema: The tree that was asked for; None of a list.
    """

    text: str
    schema: Schema | None = None

    def report(self) -> str:
        """The text."""
        return self.text


def schemas(options: SchemasOptions) -> SchemasResult:
    """List Galaxy Zoo's decision trees, draw one or that of a file or workflow, or write one to a file.

    Args:
        options: Which one, and what to do with it.

    Raises:
        SchemaError: If there is no such tree, or a file is none.
    """
    name, file = options.name, options.yaml
    if options.from_workflow is not None:
        workflow, naming = read_questions(options.from_workflow, options.workflow_id, options.extractor)
        return _written(workflow.schema(naming), file)
    if name is None:
        return _list() if file is None else _drawn(Schema.from_yaml(file))
    return _written(get(name, legacy=options.legacy), file)


def _written(schema: Schema, file: str | None) -> SchemasResult:
    if file is None:
        return _drawn(schema)
    schema.to_yaml(file)
    return SchemasResult(text=f"wrote {schema.name} to {file}", schema=schema)


def _list() -> SchemasResult:
    width = max(map(len, names()))
    return SchemasResult(text="\n".join(f"{name:<{width}}  {describe(name)}" for name in names()))


def _drawn(schema: Schema) -> SchemasResult:
    return SchemasResult(text=schema.draw(), schema=schema)
