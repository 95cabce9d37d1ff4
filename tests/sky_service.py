"""A service of cutouts on the loopback, which answers, fails and throttles as real ones do."""

import collections
import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Say nothing of clients that were killed."""


class SkyService:
    """What it was asked, and what it answers.

    Args:
        answer: What makes (status, headers, body) of the number of a request to the same place, from 0, and
            of a request: `path`, `query`, `headers`.

    Attributes:
        asked: (path, query, headers) of each request, in order.
        given: How often each place was answered with 200, and whole.
    """

    def __init__(self, answer):
        self.answer, self.asked, self.given = answer, [], collections.Counter()
        self.tries, self._lock = collections.Counter(), threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits for the other's acknowledgement

            def do_GET(self):
                service.respond(self)

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def respond(self, handler):
        parts = urlsplit(handler.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self._lock:
            number = self.tries[handler.path]
            self.tries[handler.path] += 1
            self.asked.append((parts.path, query, dict(handler.headers)))
            status, headers, body = self.answer(number, parts.path, query)
            is_whole = int(headers.get("Content-Length", len(body))) == len(body)
            self.given[handler.path] += status == 200 and is_whole
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # of a client that was killed
            handler.wfile.write(body)
        if not is_whole:
            handler.close_connection = True

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
