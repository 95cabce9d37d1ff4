import errno
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from zoobot.shared.checkpoint import NeutralCheckpoint, read_checkpoint, write_checkpoint
from zoobot.shared.errors import BusyError, WriteError, ZoobotError
from zoobot.shared.files import locks
from zoobot.shared.files.locks import lock_file, locked, refuse_busy
from zoobot.shared.files.whole import replacing, write_safely
from zoobot.shared.tables.part_folder import PartFolder, Shard

#: The system refuses to let any file grow beyond 20 kB, as a full disk would.
FULL = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
    from zoobot.shared.errors import WriteError
    from zoobot.shared.files.whole import replacing, write_safely
    from zoobot.shared.files.tensors import write_tensors
    from zoobot.shared.training.epochs import EpochLog

    folder = Path(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    def tensors():
        with replacing(folder / "last.ckpt") as draft:
            write_tensors(draft, {"weight": np.zeros(10_000)})

    def checkpoint():
        write_checkpoint(folder / "checkpoint", NeutralCheckpoint(
            architecture="a", encoder={"w": np.zeros(10_000)}, num_features=1, pretrained_cfg={}))

    for write, error in (
        (lambda: write_safely(folder / "run.json", "x" * 30_000), WriteError),
        (lambda: EpochLog(folder / "metrics.csv").append({"epoch": 1, "x" * 30_000: 0.5}), WriteError),
        (tensors, WriteError),
        (checkpoint, WriteError),
    ):
        try:
            write()
        except error as told:
            print(told)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no files")
def test_a_full_disk_leaves_every_older_file(tmp_path):
    older = {"run.json": "{}\n", "metrics.csv": "epoch\n0\n", "last.ckpt": "older"}
    for name, text in older.items():
        (tmp_path / name).write_text(text)
    write_checkpoint(
        tmp_path / "checkpoint",
        NeutralCheckpoint(architecture="older", encoder={}, num_features=1, pretrained_cfg={}),
    )
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 4
    assert all("File too large" in line and "is kept" in line for line in said)
    assert {path.name for path in tmp_path.iterdir()} == {*older, "checkpoint"}
    assert {name: (tmp_path / name).read_text() for name in older} == older
    assert read_checkpoint(tmp_path / "checkpoint").architecture == "older"


def test_text_is_written_as_utf_8_and_into_new_folders(tmp_path):
    write_safely(tmp_path / "new" / "names.txt", "Zoé\n")
    assert (tmp_path / "new" / "names.txt").read_bytes() == "Zoé\n".encode()


def test_what_ends_a_block_ends_the_draft_and_is_passed_on(tmp_path):
    path = tmp_path / "file"

    def interrupt():
        with replacing(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not path.exists()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(WriteError, match=r"can't write .*metrics\.csv: ") as told:
        write_safely(tmp_path / "run" / "metrics.csv", "")
    assert isinstance(told.value, ZoobotError)


HOLD = """
import sys, time
from pathlib import Path
from zoobot.shared.files.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock_file(tmp_path))], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_place_is_one_process_s_until_it_dies(tmp_path, holder):
    lock = lock_file(tmp_path)
    for _ in range(2):
        with pytest.raises(BusyError, match=rf"process {holder.pid} on \w+, since .*, works in {tmp_path}:"):
            refuse_busy(lock)
    with pytest.raises(BusyError, match="works in"), locked(lock):
        pass
    holder.kill()  # which leaves its mark
    holder.wait()
    assert lock.exists()
    refuse_busy(lock)
    with locked(lock), locked(lock):
        refuse_busy(lock)
    assert not lock.exists()


def test_a_place_on_a_disk_without_locks(tmp_path, monkeypatch, holder):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    lock = lock_file(tmp_path)
    with pytest.raises(BusyError, match=f"process {holder.pid} on"):
        refuse_busy(lock)
    holder.kill()
    holder.wait()
    with locked(lock):
        pass
    lock.write_text('{"host": "elsewhere", "pid": 1, "session": "0", "since": "2020"}')
    with pytest.raises(BusyError, match=r"process 1 on elsewhere, since 2020, .*its mark is .*\.working\)"):
        refuse_busy(lock)


def test_parts_that_others_make_are_not_cleared(tmp_path):
    folder = PartFolder(tmp_path)
    for shard, place in ((Shard(1, 1), "in"), (Shard(2, 3), "on shard-2-of-3 in")):
        with ThreadPoolExecutor(1) as other, locked(folder.lock(shard)):
            with pytest.raises(BusyError, match=rf"works {place} {tmp_path}:"):
                other.submit(folder.clear).result()
            with locked(folder.lock(Shard(1, 3))):  # shards work side by side
                pass
    folder.clear()
