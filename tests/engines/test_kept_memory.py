"""PyTorch's memory is kept while a network works, and given back afterwards."""

import platform
import resource

import pytest

torch = pytest.importorskip("torch")
from zoobot.pytorch.kept_memory import kept_memory  # noqa: E402

_MIB = 2**20


def page_faults_of_layers(count=6):
    """How many pages the system had to hand out for as many layers, one after the other, of 64 MiB each."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(64 * _MIB // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_is_kept_within_and_given_back_after():
    usual = page_faults_of_layers()
    with kept_memory():
        with kept_memory():
            assert 3 * page_faults_of_layers() < usual
        assert 3 * page_faults_of_layers() < usual
        kept = resident_bytes()
    assert resident_bytes() < kept - 32 * _MIB
    assert 2 * page_faults_of_layers() > usual


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with kept_memory():
        assert torch.ones(3).sum() == 3
