"""A polite client: so many requests a second, waiting when it is told to, and never led elsewhere."""

from __future__ import annotations

import html
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from zoobot.shared.errors import ServiceError
from zoobot.version import __version__

if TYPE_CHECKING:
    from requests import Response

#: Who asks, for those who see it in their logs.
USER_AGENT = f"Zoobot/{__version__} (+https://doi.org/10.21105/joss.05312)"

#: What passes: too many requests, or a service that is out of order. 104 is the Zooniverse's production's.
_PASSING = (104, 408, 425, 429, 500, 502, 503, 504)
#: What is said to all: then nobody asks until it is over.
_FOR_ALL = (429, 503)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3

_FIRST_WAIT_S = 0.8
_LONGEST_WAIT_S = 600.0
_CONNECT_S = 10.0
_CHUNK = 2**16
LARGEST_BYTES = 2**28
_LONGEST_WORDS = 160

_ON_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class NoImage(Exception):  # noqa: N818
    """There is no image of this galaxy; the message says why."""


class NoAnswer(NoImage):
    """Nobody says whether there is one: no machine answers, or it is out of order."""


class _AsksWho(NoImage):
    """It is for those alone who say who they are."""


class _Passing(Exception):  # noqa: N818
    """It may work later."""

    def __init__(self, reason: str, *, after_s: float | None = None, for_all: bool = False) -> None:
        super().__init__(reason)
        self.after_s, self.for_all = after_s, for_all


class Pace:
    """When the next request may be made, whoever makes it.

    Args:
        rate: Requests a second.

    Attributes:
        clock: What tells the time, in seconds.
        sleep: What waits.
    """

    clock = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)

    def __init__(self, rate: float) -> None:
        self._step_s, self._next, self._lock = 1 / rate, 0.0, threading.Lock()

    def wait(self) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self.clock()
            turn = max(now, self._next)
            self._next = turn + self._step_s
        if turn > now:
            self.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let nobody ask for so long."""
        with self._lock:
            self._next = max(self._next, self.clock() + seconds)


class Client:
    """What asks a service, from several threads.

    Args:
        pace: When it may ask.
        address: Where the service is; a token is sent there alone.
        token: Sent as `Authorization: Bearer …`; never in an address or a message.
        allow_hosts: Other hosts that the service may send us on to, by https.
        retries: How often it asks again where that may help.
        timeout_s: How long it waits for an answer to begin, and between its parts; ten times as long for all.
        connections: How many are kept open.
        largest_bytes: What is larger is no image of a galaxy.
        guarded: Whether the address is not the user's own word, but stands in a catalog: then no machine of a
            private network is asked, unless it is of `allow_hosts`.
        hosts_flag: What the user names such hosts by.
    """

    def __init__(
        self,
        pace: Pace,
        *,
        address: str,
        token: str | None = None,
        allow_hosts: Sequence[str] = (),
        retries: int = 4,
        timeout_s: float = 60.0,
        connections: int = 2,
        largest_bytes: int = LARGEST_BYTES,
        guarded: bool = False,
        hosts_flag: str = "--allow-hosts",
    ) -> None:
        import requests  # late: nothing else here needs it

        self._requests, self._pace, self._token = requests, pace, token
        self._origin, self._allowed = _origin(address), {host.lower() for host in allow_hosts}
        self._retries, self._timeout_s, self._largest_bytes = retries, timeout_s, largest_bytes
        self._guarded, self._hosts_flag, self.reached = guarded, hosts_flag, False
        self._session = requests.Session()
        self._session.headers["User-Agent"] = USER_AGENT
        self._session.auth = lambda request: request  # else passwords of ~/.netrc would be sent
        kind = _adapter(timeout_s, self._allowed if guarded else None)
        adapter = kind(pool_connections=connections, pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def get(self, url: str) -> bytes:
        """The content that is there, of the one service that all images come from.

        Raises:
            NoImage: If it does not come.
            ServiceError: If nobody will get any: no machine answers, the token is refused, or we are told to
                wait for long.
        """
        try:
            return self.ask(url)
        except NoAnswer as last:
            if self.reached:
                raise
            raise ServiceError(
                f"{urlsplit(url).hostname} can't be reached ({last}): is there a network here, and is the "
                "address right? The same command goes on when it answers"
            ) from None
        except _AsksWho as said:
            raise ServiceError(
                f"{urlsplit(url).hostname} asks who you are ({said}): put a token that holds into the "
                "variable that --token-env names"
            ) from None

    def ask(self, url: str) -> bytes:
        """The content that is there, asked for again where that may help.

        Raises:
            NoAnswer: If nobody says whether there is any.
            NoImage: If there is none, or it may not be had.
            ServiceError: If we are told to wait for long.
        """
        last = ""
        for tried in range(self._retries + 1):
            self._pace.wait()
            try:
                return self._follow(url)
            except _Passing as trouble:
                last = str(trouble)
                pause = min(_FIRST_WAIT_S * 2**tried, _LONGEST_WAIT_S)
                if trouble.after_s is not None:
                    pause = self._bearable(trouble.after_s, url)
                if trouble.for_all:
                    self._pace.hold(pause)
                elif tried < self._retries:
                    self._pace.sleep(pause)
        raise NoAnswer(f"{last}, {self._retries + 1} times")

    def close(self) -> None:
        """Give its connections back."""
        self._session.close()

    def _bearable(self, seconds: float, url: str) -> float:
        if seconds > _LONGEST_WAIT_S:
            host = urlsplit(url).hostname
            raise ServiceError(
                f"{host} asks to be left alone for {seconds:,.0f} s: give the same command again after that, "
                "and it goes on from here; a lower rate may help"
            )
        return seconds

    def _follow(self, url: str) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            if self._guarded:
                _refuse_private(url, self._allowed, self._hosts_flag)
            try:
                with self._session.get(
                    url,
                    headers=self._headers(url),
                    stream=True,
                    allow_redirects=False,
                    timeout=(_CONNECT_S, self._timeout_s),
                ) as answer:
                    self.reached = True
                    if answer.status_code not in _REDIRECTS:
                        with _Watch(answer.raw.socket, 10 * self._timeout_s):
                            return self._content(answer)
                    url = self.lead(url, answer.headers.get("Location", ""))
            except TimeoutError as error:
                raise NoAnswer(f"not whole after {10 * self._timeout_s:g} s") from error
            except self._requests.Timeout as error:
                raise _Passing(f"no answer within {self._timeout_s:g} s") from error
            except self._requests.exceptions.ChunkedEncodingError as error:
                raise _Passing("the answer ended too early") from error
            except self._requests.exceptions.ContentDecodingError as error:
                raise NoImage("it says that it is packed, and can't be unpacked") from error
            except self._requests.exceptions.SSLError as error:
                if "certificate" in str(error).lower():
                    raise NoAnswer("its certificate does not hold, so it may be another's machine") from error
                raise _Passing(f"no connection ({type(error).__name__})") from error
            except self._requests.exceptions.InvalidURL as error:
                raise NoImage(f"no address that can be asked ({error})") from error
            except self._requests.RequestException as error:
                raise _Passing(f"no connection ({type(error).__name__})") from error
        raise NoImage(f"sent on more than {_MOST_REDIRECTS} times")

    def _headers(self, url: str) -> dict[str, str]:
        goes = self._token is not None and _origin(url) == self._origin and may_have_token(url)
        return {"Authorization": f"Bearer {self._token}"} if goes else {}

    def lead(self, url: str, told: str) -> str:
        """Where the service sends us on to, if we may go there.

        Args:
            url: Who sends us.
            told: Where to, as it is told.

        Raises:
            NoImage: If it is neither of the same host nor allowed.
        """
        place = urljoin(url, told)
        try:
            here, there = urlsplit(url), urlsplit(place)
            same = _origin(place) == _origin(url) or (
                there.hostname == here.hostname and there.scheme == "https" and there.port in (None, 443)
            )
        except ValueError:
            raise NoImage(f"sent on to what is no address: {place[:_LONGEST_WORDS]!r}") from None
        host = (there.hostname or "").lower()
        if same or (there.scheme == "https" and host in self._allowed):
            return place
        raise NoImage(
            f"sent on to {there.scheme}://{host}, which is not allowed ({self._hosts_flag}, by https)"
        )

    def _content(self, answer: Response) -> bytes:
        status = answer.status_code
        if status == 200:
            return self._body(answer)
        said = f"HTTP {status} {answer.reason or ''}".strip()
        if status == 401:
            raise _AsksWho(said)
        if status in _PASSING:
            after = _retry_after(answer.headers.get("Retry-After"))
            raise _Passing(said, after_s=after, for_all=status in _FOR_ALL)
        words = self._words(next(answer.iter_content(_CHUNK), b""))
        raise NoImage(f"{said}: {words}" if words else said)

    def _body(self, answer: Response) -> bytes:
        """The content, unless it is too large."""
        parts, total = [], 0
        told = answer.headers.get("Content-Length", "")
        if told.isdecimal() and int(told) > self._largest_bytes:
            raise NoImage(f"too large: {int(told):,} bytes, more than {self._largest_bytes:,}")
        for part in answer.iter_content(_CHUNK):
            parts.append(part)
            total += len(part)
            if total > self._largest_bytes:
                raise NoImage(f"too large: more than {self._largest_bytes:,} bytes")
        return b"".join(parts)

    def _words(self, body: bytes) -> str:
        """What an answer says, for a table of failures, without the token."""
        return self.without_token(plain_words(body))

    def without_token(self, words: str) -> str:
        """What a service said, without the token."""
        return words.replace(self._token, "…") if self._token else words


def may_have_token(address: str) -> bool:
    """Whether a token may go there: only where nobody can listen.

    Example:
        >>> may_have_token("https://data.lsst.cloud/api/cutout/sync"), may_have_token("http://data.lsst.cloud")
        (True, False)
    """
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in _ON_THIS_MACHINE


def _refuse_private(url: str, allowed: Collection[str], flag: str) -> None:
    """Raise a NoImage if an address holds a password, or leads into a private network or this machine.

    Where its name can't be looked up here, as behind a proxy, who connects finds out.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise NoImage(f"no address that can be asked ({error})") from None
    if not host or parts.username is not None or parts.password is not None:
        raise NoImage("no address of a host alone, without user and password")
    if host in allowed:
        return
    if parts.scheme != "https":
        raise NoImage(f"is asked by {parts.scheme}, which anybody can change: allow the host ({flag} {host})")
    try:
        found = socket.getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    if any(_is_private(str(place[4][0])) for place in found):
        raise NoImage(f"{host} lies in a private network: allow it ({flag} {host})")


def _is_private(place: str) -> bool:
    """Whether an IP address is of no machine that all can reach.

    Example:
        >>> [_is_private(place) for place in ("127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254", "8.8.8.8")]
        [True, True, True, False]
    """
    found = ipaddress.ip_address(place.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found.sixtofour or found
    return not found.is_global or found.is_multicast


class _Watch:
    """Cuts a connection off that takes too long: a timeout alone counts from each byte to the next.

    Args:
        sock: Its socket.
        seconds: How long it may take.

    Raises:
        TimeoutError: If it took longer.
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock, self._is_over = sock, False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self._timer.cancel()
        if self._is_over:
            raise TimeoutError from error

    def _cut(self) -> None:
        self._is_over = True
        with suppress(OSError):  # it may have ended by itself
            self._sock.shutdown(socket.SHUT_RDWR)


def _adapter(timeout_s: float, allowed: Collection[str] | None) -> Any:
    """What connects, and waits so long for an answer to begin.

    Args:
        timeout_s: How long.
        allowed: If given, it connects to machines that all can reach, and to these: a name may mean another
            by now. Behind a proxy, that one connects.
    """
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection

    class Watched(HTTPConnection):
        def getresponse(self) -> Any:
            sock = self.sock
            with _Watch(sock, timeout_s):
                answer: Any = super().getresponse()
            answer.socket = sock
            return answer

    class Guarded(Watched):
        def connect(self) -> None:
            super().connect()
            is_open = allowed is None or self.host.lower().strip("[]") in allowed
            if not is_open and _is_private(self.sock.getpeername()[0]):
                self.close()
                raise NoImage(f"{self.host} lies in a private network")

    def connect_by(kind: type[Watched], manager: Any) -> None:
        """Let a manager's pools, whatever they are, connect so."""
        manager.pool_classes_by_scheme = {
            scheme: type(
                "Pool", (pool,), {"ConnectionCls": type("Connection", (kind, pool.ConnectionCls), {})}
            )
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            connect_by(Guarded, self.poolmanager)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            is_known = proxy in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **options)
            if not is_known:
                connect_by(Watched, manager)
            return manager

    return Adapter


def plain_words(body: bytes) -> str:
    """The first words of a page or message, without its tags; none of what is no text.

    Example:
        >>> plain_words(b"<html><body><h1>Not here</h1> <p>Sorry &amp; bye</p></body></html>")
        'Not here Sorry & bye'
    """
    if b"\0" in body[:4096]:
        return ""  # no text
    text = body[:4096].decode("utf-8", errors="replace")
    text = html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.I))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LONGEST_WORDS else f"{text[:_LONGEST_WORDS]} …"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or usual


def _retry_after(told: str | None) -> float | None:
    """Seconds, from a number of them or a date; None where nothing that can be read is said."""
    if told is None:
        return None
    from urllib3.exceptions import InvalidHeader
    from urllib3.util.retry import Retry

    try:
        return float(Retry(retry_after_max=10**9).parse_retry_after(told))
    except TypeError:  # an older urllib3, which knows no such limit
        return float(Retry().parse_retry_after(told))
    except (InvalidHeader, ValueError, OverflowError):
        return None
