"""PyTorch's memory is kept while a network works, and no longer."""

import json
import platform
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
from zoobot.pytorch.devices import kept_memory  # noqa: E402

#: In a process of its own, whose heap has no room left over from other work.
SCRIPT = """
import ctypes, json, mmap, resource
from pathlib import Path
import torch
from zoobot.pytorch.devices import kept_memory

NO_HUGE_PAGES = 41  # so that every page of 4 kB is counted
ctypes.CDLL(None).prctl(NO_HUGE_PAGES, 1, 0, 0, 0)

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(6):
        torch.ones(64 * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20

faults = {"before": page_faults()}
mib = {"before": resident_mib()}
with kept_memory():
    with kept_memory():
        faults["first within"] = page_faults()
    faults["within"] = page_faults()
    mib["within"] = resident_mib()
mib["after"] = resident_mib()
print(json.dumps({"faults": faults, "mib": mib}))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_is_kept_within_and_given_back_after():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    faults, mib = found["faults"], found["mib"]
    assert 3 * faults["first within"] < faults["before"]
    assert 30 * faults["within"] < faults["before"]
    assert mib["within"] > mib["before"] + 60
    # how often the system is asked afterwards is left to where the heap's last block happens to lie
    assert mib["after"] < mib["before"] + 16


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with kept_memory():
        assert torch.ones(3).sum() == 3
