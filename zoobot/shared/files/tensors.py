"""Arrays by name in a safetensors file: plain numbers with a checked header, never code."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoobot.shared.errors import CheckpointError

#: Bytes in which a file's tensors are named; those of the largest networks take a few hundred thousand.
LARGEST_HEADER = 8 * 2**20


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, by name; those in half precision come back as float32.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds numbers that NumPy has no type for.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"the checkpoint {path.parent} has no {path.name}")
    check_header(path)
    try:
        return {name: as_plain(array) for name, array in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:  # the last for shapes that NumPy can't have
        msg = f"{path} is damaged or not a safetensors file ({error}); copy or download it again"
        raise CheckpointError(msg) from error
    except (KeyError, TypeError, ModuleNotFoundError) as error:
        msg = f"{path} holds numbers of a type that NumPy does not have ({error}); convert it to float32"
        raise CheckpointError(msg) from error


def check_header(path: Path) -> None:
    """Raise unless the header of a safetensors file, which names its tensors, is one to be read.

    Its size stands in the first 8 bytes; reading a million names takes a gigabyte.

    Raises:
        CheckpointError: If it is longer than the file, or than any network needs.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            room = path.stat().st_size - 8
    except OSError as error:
        raise CheckpointError(f"can't read {path}: {error}") from error
    refuse_pointer(path, start)
    size = int.from_bytes(start, "little")
    if size > room:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file (its header should take {size:,} bytes, of "
            f"{room:,} that there are); copy or download it again"
        )
    if size > LARGEST_HEADER:
        raise CheckpointError(
            f"{path} lists more tensors than any network has: its header takes {size:,} bytes, and at most "
            f"{LARGEST_HEADER:,} are read (the names and shapes of some 50,000 tensors)"
        )


def refuse_pointer(path: Path, start: bytes) -> None:
    """Raise a CheckpointError if a file starts as what Git LFS leaves in the place of large files."""
    if start[:8] == b"version ":
        raise CheckpointError(
            f"{path} is a pointer of Git LFS, not the weights themselves; fetch them with `git lfs pull`, or "
            f"download the file again"
        )


def write_tensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name to a safetensors file that NumPy, torch and timm read.

    Args:
        path: The file.
        arrays: By name.
        metadata: Text by name, for the file's header.

    Raises:
        OSError: If it can't be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "head.safetensors"
        >>> write_tensors(path, {"bias": np.zeros(3)})
        >>> read_tensors(path)["bias"].tolist()
        [0.0, 0.0, 0.0]
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # order="C" and not ascontiguousarray, which would give scalars an axis
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    path = Path(path)
    path.touch()  # the mode that the user's umask gives new files; safetensors would make it 0600
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file(dense, path, metadata={"format": "pt", **(metadata or {})})
        path.chmod(mode)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def as_plain(array: np.ndarray) -> np.ndarray:
    """The array in float32 where it is of half precision, which saves room on disk; else as it is."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array
