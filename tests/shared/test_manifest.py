"""The manifest of a folder of parts: made once by many processes, and compared."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from zoobot.shared.errors import PredictionsError
from zoobot.shared.files.whole import draft_name
from zoobot.shared.loader import Failure
from zoobot.shared.tables import manifest as module
from zoobot.shared.tables.manifest import Manifest, claim_folder, read_manifest
from zoobot.shared.tables.part_folder import PartFolder

MANIFEST = Manifest(
    models=["ab"],
    task={"kind": "tree", "schema": {"questions": ["a", "b"]}},
    preprocessing=[{"mean": [0.5, 0.25]}],
    options={"part_rows": 10, "select": None, "seed": 1},
    catalog={"name": "c.csv", "galaxies": 95, "fingerprint": "cd"},
    versions={"numpy": "1"},
)


@pytest.fixture
def folder(tmp_path):
    made = PartFolder(tmp_path / "parts")
    made.prepare()
    return made


def test_parts_and_galaxies_are_counted(folder):
    assert MANIFEST.part_count == 10
    assert MANIFEST.count([0, 9]) == 15
    assert replace(MANIFEST, catalog={"galaxies": 100}).count(list(range(10))) == 100
    assert claim_folder(folder, MANIFEST) == read_manifest(folder) == MANIFEST
    assert claim_folder(folder, replace(MANIFEST, catalog=MANIFEST.catalog | {"name": "./c.csv"})) == MANIFEST


def test_every_difference_is_named_with_both_values(folder):
    claim_folder(folder, MANIFEST)
    for change, message in (
        ({"models": ["xy"]}, "models.0: 'ab' there, 'xy' now"),
        ({"models": ["ab", "ab"]}, "models.1: None there, 'ab' now"),
        ({"task": {"kind": "tree", "schema": {"questions": ["a"]}}}, "task.schema.questions.1: 'b' there"),
        ({"preprocessing": [{"mean": [0.5, 0.5]}]}, "preprocessing.0.mean.1: 0.25 there, 0.5 now"),
        ({"options": {"part_rows": 10, "select": "a=1", "seed": 1}}, "options.select: None there, 'a=1' now"),
        ({"catalog": MANIFEST.catalog | {"galaxies": 94}}, "catalog.galaxies: 95 there, 94 now"),
    ):
        with pytest.raises(PredictionsError, match=message):
            claim_folder(folder, replace(MANIFEST, **change))


def test_many_processes_make_one_manifest(folder):
    code = (
        "import json, sys, time\n"
        "from zoobot.shared.tables.manifest import Manifest, claim_folder\n"
        "from zoobot.shared.tables.part_folder import PartFolder\n"
        "content, number, start = json.loads(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])\n"
        "content['options']['seed'] = number % 2\n"
        "time.sleep(max(0, start - time.time()))\n"
        "claim_folder(PartFolder(sys.argv[1]), Manifest(**content))\n"
    )
    begin = time.time() + 3
    words = [sys.executable, "-c", code, str(folder.path), json.dumps(asdict(MANIFEST))]
    processes = [
        subprocess.Popen([*words, str(n), str(begin)], stderr=subprocess.PIPE, text=True) for n in range(6)
    ]
    errors = [process.communicate()[1] for process in processes]
    failed = [number for number, error in enumerate(errors) if error]
    won = read_manifest(folder).options["seed"]
    assert failed == [number for number in range(6) if number % 2 != won], errors
    assert all("options.seed" in errors[number] for number in failed)
    assert [path.name for path in folder.path.iterdir()] == ["_manifest.json"]


def test_a_partial_manifest_that_its_process_removes_meanwhile(folder, monkeypatch, left_by_the_dead):
    gone = left_by_the_dead(folder.manifest, ".partial")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([gone]))
    assert claim_folder(folder, MANIFEST) == MANIFEST


def test_a_file_system_without_links(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", refuse)
    assert claim_folder(folder, MANIFEST) == claim_folder(folder, MANIFEST) == MANIFEST
    assert [path.name for path in folder.path.iterdir()] == ["_manifest.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2}', "update Zoobot"),
        ('{"format": 1}', "can't be read"),
        ("[]", "can't be read"),
        ("x", "be read"),
    ],
)
def test_other_files_of_that_name_are_refused(folder, text, message):
    folder.manifest.write_text(text)
    with pytest.raises(PredictionsError, match=message):
        read_manifest(folder)


def test_a_manifest_in_the_making_is_waited_for_a_little(folder, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
    folder.manifest.touch()
    with pytest.raises(PredictionsError, match="can't be read"):
        read_manifest(folder)


def test_only_what_the_dead_have_left_is_cleaned(folder, left_by_the_dead):
    left_by_the_dead(folder.part(0), ".partial").touch()
    lives = draft_name(folder.part(1))
    elsewhere = left_by_the_dead(folder.part(2), ".partial", host="elsewhere")
    long_ago = left_by_the_dead(folder.part(3), ".partial", host="elsewhere")
    before = left_by_the_dead(folder.part(4), ".partial", pid=os.getpid())  # as in a container begun anew
    users = folder.path / ".my.notes.partial"
    for path in (lives, elsewhere, long_ago, before, users):
        path.touch()
    os.utime(long_ago, (0, 0))
    os.utime(users, (0, 0))
    folder.clean()
    assert set(folder.path.iterdir()) == {lives, elsewhere, users}


def test_parts_beyond_a_million_stay_in_order(folder):
    for number in (1_000_000, 2, 999_999):
        folder.part(number).touch()
    assert folder.done() == [2, 999_999, 1_000_000]


def test_failures_of_names_that_are_not_unicode(folder):
    folder.write_failures(3, [Failure("a\udcff", "/x/\udcff.png", "no image")])
    folder.part(3).touch()
    (table,) = folder.read_failures()
    assert table["id_str"].tolist() == ["a\\udcff"]
    assert folder.count_failures([3, 4]) == 1
    folder.write_failures(3, [])
    assert folder.count_failures([3, 4]) == 0
