"""No file imports itself by way of others, nor a room one that imports it; read from the code alone."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2] / "zoobot"


def modules():
    """Every module's file by its name; a package is its __init__.py."""
    found = {}
    for file in sorted(HOUSE.rglob("*.py")):
        parts = file.relative_to(HOUSE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file, known, *, for_types):
    """The modules that a file imports, at its top or later; those for type checkers alone where asked for."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tests = [
        n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"
    ]
    left_out = set() if for_types else {id(inner) for test in tests for inner in ast.walk(test)}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.ImportFrom) and node.module in known:
            of_package = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (of_package & known.keys()) or {node.module}
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known.keys()


def room_of(name, file):
    """The folder of a file; files beside the folders of the house, and of what engines share, stand alone."""
    folder = file.parent.relative_to(HOUSE.parent).as_posix()
    return name if folder in ("zoobot", "zoobot/shared") else folder


def check(graph):
    TopologicalSorter(graph).prepare()


def graph_of(*, for_types):
    known = modules()
    return {name: set(imports(file, known, for_types=for_types)) - {name} for name, file in known.items()}


def test_no_circle_of_files():
    graph = graph_of(for_types=True)
    assert sum(map(len, graph.values())) > 500
    check(graph)


def test_no_circle_of_rooms_at_run_time():
    known = modules()
    rooms = {}
    for name, needed in graph_of(for_types=False).items():
        room = room_of(name, known[name])
        rooms.setdefault(room, set()).update(room_of(other, known[other]) for other in needed)
    check({room: needed - {room} for room, needed in rooms.items()})


def test_a_circle_would_be_found():
    with pytest.raises(CycleError):
        check({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_files_are_read_in_one_sitting():
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules().items()}
    assert {name: length for name, length in lengths.items() if length > 500} == {}
