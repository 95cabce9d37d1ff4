"""Images that lie at web addresses, as places of a catalog; only who allows it gets such places.

A text that looks like an address is no such place by itself: `read_catalog` makes one of it where the user
allows that, so no table, record or archive has an address asked for by what stands in it.
"""

from __future__ import annotations

import logging
import re
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from zoobot.shared.errors import ConfigError, ImageError, ServiceError
from zoobot.shared.pixels.answers import check_image
from zoobot.shared.pixels.in_memory import WholeFile
from zoobot.shared.pixels.locations import split_stack
from zoobot.shared.pixels.shared_files import ForkSafeCache
from zoobot.shared.web.client import Client, NoAnswer, NoImage, Pace
from zoobot.shared.web.kept import KeptAnswers, usual_folder

logger = logging.getLogger("zoobot")

_ADDRESS = re.compile(r"\s*https?://", re.IGNORECASE)

_CONNECTIONS = 4
_LOCKS = 256
#: So many images in a row without an answer, and a host that was there before is out of order.
_MOST_IN_VAIN = 20
#: So many, and a host that was never there is taken for none.
_TRIES_OF_UNKNOWN = 2
#: How long a reason is remembered before an address is asked again, as in the next epoch.
_REMEMBERED_S = 600.0


def is_address(place: object) -> bool:
    """Whether a text is a web address.

    Example:
        >>> is_address("HTTPS://example.org/a.jpg"), is_address("https/a.jpg"), is_address("file:///a.jpg")
        (True, False, False)
    """
    return isinstance(place, str) and _ADDRESS.match(place) is not None


def file_of_address(place: str) -> str:
    """What a web address calls its file, without a query; any other text as it is.

    Example:
        >>> file_of_address("https://example.org/a/b.jpg?size=3#top"), file_of_address("a.jpg")
        ('/a/b.jpg', 'a.jpg')
    """
    try:
        return urlsplit(place).path if is_address(place) else place
    except ValueError:
        return place


@dataclass(frozen=True, kw_only=True)
class WebAccess:
    """What is allowed where images lie at web addresses, and how they are asked for.

    By https alone, from machines that all can reach; hosts may be allowed more.

    Args:
        hosts: Hosts that may also be asked by http, may lie in a private network (such as localhost), and may
            be sent on to by others.
        rate: Requests a second, at most, to each host, of each process.
        cache: Folder that keeps what came; None is `~/.cache/zoobot/web-images`.
        cache_gb: How large it may become; 0 keeps nothing.
        largest_mb: What is larger is no image of a galaxy.

    Raises:
        ConfigError: If a value can't be.

    Example:
        >>> WebAccess(rate=2).cache_gb
        10.0
    """

    hosts: tuple[str, ...] = ()
    rate: float = 10.0
    cache: str | None = None
    cache_gb: float = 10.0
    largest_mb: float = 64.0

    def __post_init__(self) -> None:
        if isinstance(self.hosts, str):
            raise ConfigError(f"hosts are several, in a tuple, got {self.hosts!r}")
        object.__setattr__(self, "hosts", tuple(host.lower() for host in self.hosts))
        if not self.rate > 0 or not self.largest_mb > 0 or not self.cache_gb >= 0:
            raise ConfigError(f"rate and largest_mb must be above 0, cache_gb 0 or more, got {self}")
        odd = [host for host in self.hosts if not host or set(host) & set("/@ ")]
        if odd:
            raise ConfigError(f"hosts are names alone, such as images.example.org, got {odd[0]!r}")

    def place(self, text: str) -> str:
        """A place that may be asked for: where an image, or a band of it, lies at an address; others stay."""
        stack = split_stack(text) or [("", text)]
        return WebImage(text, self) if any(is_address(place) for _, place in stack) else text

    @classmethod
    def of(cls, allowed: bool | WebAccess) -> WebAccess | None:
        """What `allow_urls=` says: True is as usual; None where nothing is allowed.

        Raises:
            ConfigError: If it is something else.
        """
        if isinstance(allowed, WebAccess):
            return allowed
        if not isinstance(allowed, bool):
            raise ConfigError(f"allow_urls must be True, False or a WebAccess, got {allowed!r}")
        return cls() if allowed else None


class WebImage(str):
    """Where an image lies: an address, or a stack of bands with addresses, that may be asked for.

    Args:
        address: The text.
        access: How it may be asked for.
    """

    access: WebAccess

    def __new__(cls, address: str, access: WebAccess) -> WebImage:  # noqa: D102
        new = super().__new__(cls, address)
        new.access = access
        return new

    def __getnewargs__(self) -> tuple[str, WebAccess]:  # type: ignore[override]
        return str(self), self.access

    def content(self, hdu: int | str | None = None) -> bytes:
        """What is there: the bytes of an image file, checked to be one.

        Args:
            hdu: Which extension of a FITS file is looked at.

        Raises:
            ImageError: If there is none.
            ServiceError: If it is of no use to ask on.
        """
        reader = _READERS.get_or_make(self.access, lambda: WebReader(self.access))
        return reader.read(str(self), hdu)

    def part(self, place: str) -> str:
        """One of several files: a place like this where it is an address."""
        return self.access.place(place)

    def whole(self) -> WebImage:
        """The same, whose JPEG is decoded at its full size."""
        return _WholeWebImage(self, self.access)


class _WholeWebImage(WebImage, WholeFile):
    pass


class WebReader:
    """What asks for the images of addresses, from any number of threads: each once.

    Args:
        access: What is allowed.
    """

    def __init__(self, access: WebAccess) -> None:
        self._access = access
        self._kept = KeptAnswers(
            Path(access.cache).expanduser() if access.cache else usual_folder(), round(access.cache_gb * 1e9)
        )
        self._hosts: dict[str, _Host] = {}
        self._in_vain = 0
        self._reasons: dict[str, tuple[float, str]] = {}
        self._lock, self._busy = threading.Lock(), [threading.Lock() for _ in range(_LOCKS)]

    def read(self, address: str, hdu: int | str | None = None) -> bytes:
        """The bytes of an image: those that are kept, or else those that are asked for."""
        with self._busy[zlib.crc32(address.encode("utf-8", "surrogatepass")) % _LOCKS]:
            known = self._kept.find(address) if self._access.cache_gb else None
            if known is not None:
                return known
            self._refuse_known(address)
            try:
                data = self._ask(address)
                check_image(data, None, None, hdu=hdu)
            except NoImage as reason:
                self._reasons[address] = Pace.clock(), str(reason)
                raise ImageError(str(reason)) from None
            if self._access.cache_gb:
                self._kept.keep(address, data)
            return data

    def _refuse_known(self, address: str) -> None:
        when, reason = self._reasons.get(address, (0.0, ""))
        if reason and Pace.clock() - when < _REMEMBERED_S:
            raise ImageError(reason)

    def _ask(self, address: str) -> bytes:
        host = self._host(address)
        with host.room:
            if host.in_vain >= _TRIES_OF_UNKNOWN and not host.client.reached and self._any_reached():
                raise NoAnswer(f"{host.name} gave no answer {host.in_vain} times ({host.last})")
            try:
                data = host.client.ask(address)
            except NoAnswer as reason:
                self._count_vain(host, str(reason))
                raise
            except NoImage:
                host.in_vain = 0
                raise
            host.in_vain = 0
            return data

    def _count_vain(self, host: _Host, reason: str) -> None:
        """Raise a ServiceError where it is of no use to ask on: then nothing is lost that may come later."""
        host.in_vain, host.last = host.in_vain + 1, reason
        self._in_vain = 0 if self._any_reached() else self._in_vain + 1
        if max(host.in_vain, self._in_vain) >= _MOST_IN_VAIN:
            what = "gives no answer" if host.client.reached else "can't be reached"
            raise ServiceError(
                f"{host.name} {what}, {_MOST_IN_VAIN} images in a row ({reason}): is there a network here, "
                "and is the address right? What came is kept; the same command goes on when it answers"
            )

    def _any_reached(self) -> bool:
        return any(host.client.reached for host in list(self._hosts.values()))

    def _host(self, address: str) -> _Host:
        try:
            parts = urlsplit(address)
            name = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".lower()
        except ValueError as error:
            raise NoImage(f"no address that can be asked ({error})") from None
        with self._lock:
            if not self._hosts:
                self._tell()
            if name not in self._hosts:
                self._hosts[name] = _Host(parts.hostname or "", self._access, address)
            return self._hosts[name]

    def _tell(self) -> None:
        """Say what begins now."""
        kept = f"kept in {self._kept.folder} (at most {self._access.cache_gb:g} GB)"
        logger.info(
            "Images are asked for on the web, at most %g a second of each host and process; they are %s",
            self._access.rate,
            kept if self._access.cache_gb else "not kept: each is asked for whenever it is needed",
        )


class _Host:
    """Who is asked, and how that went.

    Args:
        name: Of the host.
        access: What is allowed.
        address: One that is asked for there.
    """

    def __init__(self, name: str, access: WebAccess, address: str) -> None:
        self.name, self.in_vain, self.last = name, 0, ""
        self.room = threading.BoundedSemaphore(_CONNECTIONS)
        self.client = Client(
            Pace(access.rate),
            address=address,
            allow_hosts=access.hosts,
            connections=_CONNECTIONS,
            largest_bytes=round(access.largest_mb * 1e6),
            guarded=True,
            hosts_flag="--url-hosts",
        )


_READERS: ForkSafeCache[WebAccess, WebReader] = ForkSafeCache(lambda: 8)
