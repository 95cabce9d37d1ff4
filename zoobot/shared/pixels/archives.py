"""Images in archives: tar and zip."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from typing import NamedTuple

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.shared_files import SharedFile

# Images in a tar, read in any order: where each member lies is looked up once.

_BLOCK = 512


class _Place(NamedTuple):
    offset: int
    size: int


class TarImages:
    """The members of an uncompressed tar. Nothing is ever extracted: a member's name is only a name.

    Links, devices and sparse members are passed over. Of two members with one name the later counts, as when
    a tar is unpacked.

    Args:
        path: The tar.

    Attributes:
        damage: Why members may be lacking at the end; empty if the tar is whole.
        has_labels: Whether labels may lie beside images, as in a WebDataset.

    Raises:
        OSError: If the file can't be read.
        ImageError: If not even its first member can be found.
    """

    has_labels = True

    def __init__(self, path: str) -> None:
        self._file = SharedFile(path)
        self._places, self.damage = _find_members(self._file)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self) -> list[str]:
        """The members, in the order of the tar."""
        return list(self._places)

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            ImageError: If there is no such member, or the tar ends before it does.
        """
        if name not in self._places:
            raise ImageError(f"the tar has no member {name!r}{f' ({self.damage})' if self.damage else ''}")
        place = self._places[name]
        if place.size > defaults.MAX_IMAGE_BYTES:
            raise ImageError(f"too large: {place.size:,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}")
        data = self._file.read_at(place.offset, place.size)
        if len(data) < place.size:
            msg = f"truncated: the tar ends after {len(data):,} of the member's {place.size:,} bytes"
            raise ImageError(msg)
        return data


def _find_members(file: SharedFile) -> tuple[dict[str, _Place], str]:
    """Where each member lies, and what is wrong with the tar."""
    places: dict[str, _Place] = {}
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.size < 0 or member.offset_data <= end:
                    break  # a hostile size would send the reader back for ever
                end = member.offset_data + member.size
                if member.isreg() and not member.issparse():
                    places[member.name] = _Place(member.offset_data, member.size)
                tar.members.clear()  # type: ignore[attr-defined]  # a kilobyte for each
    except (tarfile.TarError, ValueError, EOFError) as error:
        if not places:
            raise ImageError(f"not a readable tar ({error})") from error
    return places, _find_damage(file, end)


def _find_damage(file: SharedFile, end: int) -> str:
    """What is wrong where the last member that was found ends; tarfile itself passes over it in silence."""
    if end > file.size:
        return f"the tar is truncated: it ends at byte {file.size:,}, within a member"
    block = file.read_at(-(-end // _BLOCK) * _BLOCK, _BLOCK)
    if block.strip(b"\0"):
        return f"the tar is damaged at byte {end:,}: what follows can't be found"
    return "" if block else "the tar lacks its end mark: it may be truncated"


_ENCRYPTED = 0x1


class ZipImages:
    """The members of a zip. Nothing is ever extracted: a member's name is only a name.

    Args:
        path: The zip.

    Attributes:
        damage: Always empty: a zip without its end can't be opened at all.

    Raises:
        OSError: If the file can't be read.
        ImageError: If it is no zip, or its list of members is damaged or lost.
    """

    damage = ""

    def __init__(self, path: str) -> None:
        try:
            # It locks its file while it reads, and unpacks outside of the lock: threads may share it.
            self._zip = zipfile.ZipFile(SharedFile(path))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise ImageError(f"not a readable zip, perhaps truncated ({error})") from error
        self._members = {member.filename: member for member in self._zip.infolist() if not member.is_dir()}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> list[str]:
        """The members, in the order of the zip."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of a member, unpacked.

        Raises:
            ImageError: If there is no such member, or it is encrypted, damaged or too large.
        """
        member = self._members.get(name)
        if member is None:
            raise ImageError(f"the zip has no member {name!r}")
        if member.flag_bits & _ENCRYPTED:
            raise ImageError("encrypted: only zips without a password can be read")
        if member.file_size > defaults.MAX_IMAGE_BYTES:
            msg = f"too large: unpacks to {member.file_size:,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}"
            raise ImageError(msg)
        if member.file_size > max(defaults.VALUES_IN_ANY_FILE, defaults.MAX_PACKING * member.compress_size):
            raise ImageError(f"too large: {member.compress_size:,} bytes that unpack to {member.file_size:,}")
        try:
            with self._zip.open(member) as file:
                return file.read(member.file_size)  # unpacks no more than the size looked at above
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
            raise ImageError(f"damaged or truncated in the zip ({error})") from error
