"""A small HTTP server on 127.0.0.1 for one page of ours and the person who was told its address.

Nobody else gets in: other users of the machine do not know the token in the address, and a page of
another site that the browser shows meanwhile is told by its Host (DNS rebinding) or its Origin.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Protocol

from aligndiff.core.errors import InputError

HOST = "127.0.0.1"
TEXT = "text/plain; charset=utf-8"
_PATIENCE = 30.0  # seconds that a connection may be silent
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")  # any port: it may be a tunnel's
_LENGTH = re.compile(r"\d{1,12}", re.ASCII)
_HEADERS = {
    # The page reaches this server alone, and what it shows stays in no cache.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Response:
    """What a request gets; `afterwards` is called when it is sent."""

    body: bytes = b""
    kind: str = TEXT
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    afterwards: Callable[[], None] | None = None


class Site(Protocol):
    """What is behind the server. Paths are what follows the token, "" for the page itself."""

    def get(self, path: str) -> Response | None:
        """None: there is no such thing."""
        ...

    def body_size(self, path: str) -> int | None:
        """How many bytes a PUT there has to bring; None: nothing is taken there."""
        ...

    def put(self, path: str, body: bytes) -> Response: ...


class LocalServer:
    """Serves `site` in threads while it is open (`with`); `failure` is what a bug raised there."""

    def __init__(self, site: Site, port: int = 0, *, failed: Callable[[], None]) -> None:
        """port: 0 takes a free one; failed: called when `failure` is set."""
        self.failure: BaseException | None = None
        self._failed = failed
        token = secrets.token_urlsafe(24)
        handler = type("Handler", (_Handler,), {"site": site, "token": token})
        try:
            self._http = _Server((HOST, port), handler)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"port {port} of {HOST}: {reason}; give another one") from None
        self._http.owner = self
        self.port: int = self._http.server_address[1]
        self.address = f"http://{HOST}:{self.port}/{token}/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> LocalServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def note_failure(self, error: BaseException) -> None:
        self.failure = error
        self._failed()


class _Server(ThreadingHTTPServer):
    owner: LocalServer
    allow_reuse_address = False  # of another program's port, on systems that would share it

    def server_bind(self) -> None:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        # Not HTTPServer's, which asks the network for this machine's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is nothing to tell; anything else is a bug."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.owner.note_failure(error)


class _Handler(BaseHTTPRequestHandler):
    site: Site
    token: str
    timeout = _PATIENCE
    server_version, sys_version = "aligndiff", ""
    error_message_format, error_content_type = "%(message)s\n", TEXT

    def do_GET(self) -> None:
        path = self._path()
        if path is not None:
            self._send(self.site.get(path))

    def do_PUT(self) -> None:
        path = self._path()
        if path is None:
            return
        size = self.site.body_size(path)
        if size is None:
            self._send(None)
        elif self._has_body_of(size):
            body = self.rfile.read(size)
            if len(body) == size:  # else the browser went away
                self._send(self.site.put(path, body))

    def _path(self) -> str | None:
        """What of the site is asked for; None when the request was refused."""
        hosts = self.headers.get_all("Host", [])
        origins = self.headers.get_all("Origin", [])
        token, _, path = self.path.removeprefix("/").partition("/")
        if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
            self.send_error(403, f"open this page at {HOST} or localhost")
        elif not hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            self.send_error(404, "not here: use the whole address that the command printed")
        elif origins != [f"http://{hosts[0]}"] and (origins or self.command != "GET"):
            self.send_error(403, "only the page itself may do this")
        else:
            return path
        return None

    def _has_body_of(self, size: int) -> bool:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            self.send_error(411, "one Content-Length is needed")
        elif not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) != size:
            self.send_error(413, f"{size} bytes are taken here")
        else:
            return True
        return False

    def _send(self, answer: Response | None) -> None:
        if answer is None:
            self.send_error(404, "not here")
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.afterwards is not None:
            answer.afterwards()

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """The terminal belongs to the command."""
