"""PyTorch's memory is kept while a network works, and no longer."""

import json
import platform
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
from zoobot.pytorch.kept_memory import kept_memory  # noqa: E402

#: In a process of its own, whose heap has no room left over from other work.
SCRIPT = """
import json, resource
import torch
from zoobot.pytorch.kept_memory import kept_memory

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(6):
        torch.ones(64 * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults = {"before": page_faults()}
with kept_memory():
    with kept_memory():
        faults["first within"] = page_faults()
    faults["within"] = page_faults()
faults["after"] = page_faults()
print(json.dumps(faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_is_kept_within_and_asked_anew_after():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    usual = found["before"]
    assert 3 * found["first within"] < usual
    assert 30 * found["within"] < usual
    assert 2 * found["after"] > usual


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with kept_memory():
        assert torch.ones(3).sum() == 3
