"""A polite client: so many requests a second, waiting when it is told to, and never led elsewhere."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from zoobot.shared.errors import ServiceError
from zoobot.sky.surveys import may_have_token
from zoobot.version import __version__

if TYPE_CHECKING:
    from requests import Response

#: Who asks, for those who see it in their logs.
USER_AGENT = f"Zoobot/{__version__} (+https://doi.org/10.21105/joss.05312)"

#: What passes: too many requests, or a service that is out of order.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
#: What is said to all: then nobody asks until it is over.
_FOR_ALL = (429, 503)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3

_FIRST_WAIT_S = 0.8
_LONGEST_WAIT_S = 600.0
_CONNECT_S = 10.0
_CHUNK = 2**16
_LARGEST_BYTES = 2**28
_LONGEST_WORDS = 160


class NoImage(Exception):  # noqa: N818
    """There is no image of this galaxy; the message says why."""


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
        timeout_s: How long it waits for an answer to begin, and between its parts.
        connections: How many are kept open.
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
    ) -> None:
        import requests  # late: nothing else here needs it
        from requests.adapters import HTTPAdapter

        self._requests, self._pace, self._token = requests, pace, token
        self._origin, self._allowed = _origin(address), {host.lower() for host in allow_hosts}
        self._retries, self._timeout_s, self._reached = retries, timeout_s, False
        self._session = requests.Session()
        self._session.headers["User-Agent"] = USER_AGENT
        self._session.auth = lambda request: request  # else passwords of ~/.netrc would be sent
        adapter = HTTPAdapter(pool_connections=connections, pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def get(self, url: str) -> bytes:
        """The content that is there, asked for again where that may help.

        Raises:
            NoImage: If it does not come.
            ServiceError: If nobody will get any: no machine answers, the token is refused, or we are told to
                wait for long.
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
        if not self._reached:
            raise ServiceError(
                f"{urlsplit(url).hostname} can't be reached ({last}, {self._retries + 1} times): is there a "
                "network here, and is the address right? The same command goes on when it answers"
            )
        raise NoImage(f"{last}, {self._retries + 1} times")

    def close(self) -> None:
        """Give its connections back."""
        self._session.close()

    def _bearable(self, seconds: float, url: str) -> float:
        if seconds > _LONGEST_WAIT_S:
            host = urlsplit(url).hostname
            raise ServiceError(
                f"{host} asks to be left alone for {seconds:,.0f} s: give the same command again after that, "
                "and it goes on from here; a lower --rate may help"
            )
        return seconds

    def _follow(self, url: str) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                with self._session.get(
                    url,
                    headers=self._headers(url),
                    stream=True,
                    allow_redirects=False,
                    timeout=(_CONNECT_S, self._timeout_s),
                ) as answer:
                    self._reached = True
                    if answer.status_code not in _REDIRECTS:
                        return self._content(answer)
                    url = self._sent_on(url, answer)
            except self._requests.Timeout as error:
                raise _Passing(f"no answer within {self._timeout_s:g} s") from error
            except self._requests.exceptions.ChunkedEncodingError as error:
                raise _Passing("the answer ended too early") from error
            except self._requests.RequestException as error:
                raise _Passing(f"no connection ({type(error).__name__})") from error
        raise NoImage(f"sent on more than {_MOST_REDIRECTS} times")

    def _headers(self, url: str) -> dict[str, str]:
        goes = self._token is not None and _origin(url) == self._origin and may_have_token(url)
        return {"Authorization": f"Bearer {self._token}"} if goes else {}

    def _sent_on(self, url: str, answer: Response) -> str:
        """Where the service sends us on to, if we may go there."""
        place = urljoin(url, answer.headers.get("Location", ""))
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
        raise NoImage(f"sent on to {there.scheme}://{host}, which is not allowed (--allow-hosts, by https)")

    def _content(self, answer: Response) -> bytes:
        status = answer.status_code
        if status == 200:
            return self._body(answer)
        said = f"HTTP {status} {answer.reason or ''}".strip()
        if status == 401:
            raise ServiceError(
                f"{urlsplit(answer.url).hostname} asks who you are ({said}): put a token that holds into the "
                "variable that --token-env names"
            )
        if status in _PASSING:
            after = _retry_after(answer.headers.get("Retry-After"))
            raise _Passing(said, after_s=after, for_all=status in _FOR_ALL)
        words = self._words(next(answer.iter_content(_CHUNK), b""))
        raise NoImage(f"{said}: {words}" if words else said)

    def _body(self, answer: Response) -> bytes:
        """The content, unless it is too large, or takes for ever."""
        parts, total, began = [], 0, self._pace.clock()
        told = answer.headers.get("Content-Length", "")
        if told.isdecimal() and int(told) > _LARGEST_BYTES:
            raise NoImage(f"too large: {int(told):,} bytes, more than {_LARGEST_BYTES:,}")
        for part in answer.iter_content(_CHUNK):
            parts.append(part)
            total += len(part)
            if total > _LARGEST_BYTES:
                raise NoImage(f"too large: more than {_LARGEST_BYTES:,} bytes")
            if self._pace.clock() - began > 10 * self._timeout_s:
                raise _Passing(f"not whole after {10 * self._timeout_s:g} s")
        return b"".join(parts)

    def _words(self, body: bytes) -> str:
        """What an answer says, for a table of failures, without the token."""
        words = plain_words(body)
        return words.replace(self._token, "…") if self._token else words


def plain_words(body: bytes) -> str:
    """The first words of a page or message, without its tags.

    Example:
        >>> plain_words(b"<html><body><h1>Not here</h1> <p>Sorry &amp; bye</p></body></html>")
        'Not here Sorry & bye'
    """
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
