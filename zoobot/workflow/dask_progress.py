"""Follows a folder of prediction parts that other processes fill: progress, and too many failures."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from zoobot.shared.parts.manifest import read_manifest
from zoobot.shared.parts.progress import PartProgress
from zoobot.shared.predicting.failure_limit import FailureLimit

if TYPE_CHECKING:
    from types import TracebackType

    from zoobot.shared.parts.files import PartFolder

__all__ = ["FolderWatch"]


class FolderWatch:
    """Looks at a folder of parts from time to time.

    Until the first new part is there the folder may be another run's, which workers find out: nothing is said
    of it before.

    Args:
        folder: The folder.
        max_failures: How many images may fail in all, or which fraction of them; None allows any.
        shown: Whether progress is shown.
    """

    def __init__(self, folder: PartFolder, *, max_failures: float | None, shown: bool) -> None:
        self._folder, self._max_failures, self._shown = folder, max_failures, shown
        self._seen = set(folder.done())
        self._bar: PartProgress | None = None
        self._open = ExitStack()

    def __enter__(self) -> FolderWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def look(self) -> None:
        """Say which parts are new.

        Raises:
            ImageError: If more images failed than may.
        """
        new = set(self._folder.done()) - self._seen
        if new:
            self._tell(new)

    def finish(self) -> None:
        """Look once more, when all is done.

        Raises:
            ImageError: If more images failed than may.
        """
        self._tell(set(self._folder.done()) - self._seen)

    def _tell(self, new: set[int]) -> None:
        manifest = read_manifest(self._folder)
        if self._bar is None:
            self._failed = self._folder.count_failures(sorted(self._seen))
            before = manifest.count(sorted(self._seen))
            bar = PartProgress("galaxies", manifest.galaxies, done=before, shown=self._shown)
            self._bar = self._open.enter_context(bar)
        self._seen |= new
        self._failed += self._folder.count_failures(sorted(new))
        self._bar.finish_part(manifest.count(sorted(new)), failed=self._failed)
        first = self._folder.first_failures(sorted(self._seen))
        FailureLimit(self._max_failures, manifest.galaxies, before=self._failed, first=first).check()
