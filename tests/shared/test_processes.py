"""Which process of a run is the first one, and which processes are one run."""

import logging
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from zoobot.shared.processes import expect_processes, is_first_process, meet_others, tasks_together

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*RANKS, *SLURM, "WORLD_SIZE", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    yield
    expect_processes(1, 1)


@pytest.fixture
def set_variables(monkeypatch):
    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return change


def test_a_process_on_its_own_is_the_first():
    assert is_first_process()


@pytest.mark.parametrize("name", RANKS)
def test_launchers_number_processes_from_0(name, set_variables):
    set_variables(WORLD_SIZE=2, **{name: 0})
    assert is_first_process()
    set_variables(**{name: 1})
    assert not is_first_process()


@pytest.mark.parametrize("name", [*RANKS, "SLURM_PROCID"])
def test_a_rank_alone_makes_no_helper(name, set_variables):
    set_variables(**{name: 3})
    assert is_first_process()


def test_the_first_device_of_a_second_machine_is_not_the_first(set_variables):
    set_variables(WORLD_SIZE=2, LOCAL_RANK=0, NODE_RANK=1)
    assert not is_first_process()


def test_tasks_of_srun_that_were_not_asked_to_train_together_are_runs_by_themselves(set_variables, caplog):
    caplog.set_level(logging.INFO, "zoobot")
    set_variables(SLURM_NTASKS=4, SLURM_STEP_NUM_TASKS=4, SLURM_PROCID=2)
    expect_processes(1, 1)
    assert (is_first_process(), tasks_together()) == (True, 1)
    assert "This is task 2 of 4, each a run by itself" in caplog.text
    for devices, nodes in ((4, 1), (2, 2)):
        expect_processes(devices, nodes)
        assert (is_first_process(), tasks_together()) == (False, 4)


def test_the_script_of_sbatch_is_one_process_however_many_tasks_its_job_has(set_variables, caplog):
    caplog.set_level(logging.INFO, "zoobot")
    set_variables(SLURM_NTASKS=4, SLURM_PROCID=0, SLURM_JOB_ID=7)
    expect_processes(1, 1)
    assert (is_first_process(), tasks_together()) == (True, 1)
    assert "SLURM has room for 4 tasks; without srun this is one, on one device" in caplog.text


@pytest.mark.parametrize(("index", "nodes", "first"), [(0, 3, True), (2, 3, False), (2, 1, True)])
def test_tensorflow_tells_the_index_of_a_worker(index, nodes, first, set_variables):
    set_variables(TF_CONFIG=f'{{"task": {{"type": "worker", "index": {index}}}}}')
    expect_processes(1, nodes)
    assert is_first_process() is first


@pytest.fixture
def addresses():
    found = []
    for _ in range(3):
        with socket.socket() as one:
            one.bind(("localhost", 0))
            found.append(f"localhost:{one.getsockname()[1]}")
    return found


def test_all_processes_go_on_when_the_last_one_has_come(addresses, caplog):
    caplog.set_level(logging.INFO, "zoobot")
    with ThreadPoolExecutor(3) as threads:
        early = [threads.submit(meet_others, addresses, index) for index in (1, 0)]
        host, port = addresses[0].split(":")
        stranger = None
        while stranger is None:  # whoever else knocks is not counted
            try:
                stranger = socket.create_connection((host, int(port)))
            except ConnectionRefusedError:
                continue
        with stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n")
        assert not any(one.done() for one in early)
        late = threads.submit(meet_others, addresses, 2)
        for one in (*early, late):
            one.result(timeout=60)
    assert f"Process 0 of 3 ({addresses[0]}) waits for the others: {addresses[1]}" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("index", [0, 1])
def test_sigterm_ends_a_process_that_waits(addresses, index):
    script = (
        "import logging, sys; logging.basicConfig(level=logging.INFO, stream=sys.stdout); "
        f"from zoobot.shared.processes import meet_others; meet_others({addresses}, {index})"
    )
    waits = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert "waits for the others" in waits.stdout.readline()
    waits.terminate()
    assert waits.wait(timeout=60) == -signal.SIGTERM
    waits.communicate()
