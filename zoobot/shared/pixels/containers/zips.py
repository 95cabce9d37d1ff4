"""Images in a zip, read in any order."""

from __future__ import annotations

import zipfile
import zlib

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.containers.files import SharedFile

__all__ = ["ZipImages"]

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
            msg = f"not a readable zip, perhaps truncated ({error})"
            raise ImageError(msg) from error
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
            msg = f"the zip has no member {name!r}"
            raise ImageError(msg)
        if member.flag_bits & _ENCRYPTED:
            msg = "encrypted: only zips without a password can be read"
            raise ImageError(msg)
        if member.file_size > defaults.MAX_IMAGE_BYTES:
            msg = f"too large: unpacks to {member.file_size:,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}"
            raise ImageError(msg)
        if member.file_size > max(defaults.VALUES_IN_ANY_FILE, defaults.MAX_PACKING * member.compress_size):
            msg = f"too large: {member.compress_size:,} bytes that unpack to {member.file_size:,}"
            raise ImageError(msg)
        try:
            with self._zip.open(member) as file:
                return file.read(member.file_size)  # unpacks no more than the size looked at above
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
            msg = f"damaged or truncated in the zip ({error})"
            raise ImageError(msg) from error
