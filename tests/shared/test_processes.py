"""Which process of a run is the first one."""

import pytest

from zoobot.shared.processes import is_first_process

NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "TF_CONFIG")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_process_on_its_own_is_the_first():
    assert is_first_process()


@pytest.mark.parametrize("name", NAMES[:-1])
def test_launchers_number_processes_from_0(name, monkeypatch):
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()


def test_the_first_device_of_a_second_machine_is_not_the_first(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("NODE_RANK", "1")
    assert not is_first_process()


@pytest.mark.parametrize(("index", "first"), [(0, True), (2, False)])
def test_tensorflow_tells_the_index_of_a_worker(index, first, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", f'{{"task": {{"type": "worker", "index": {index}}}}}')
    assert is_first_process() is first
