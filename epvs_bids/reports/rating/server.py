"""The page's server: this computer only, a secret in every address, and no address that names a file."""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from epvs_bids.errors import EPVSError
from epvs_bids.reports.rating.session import Reading
from epvs_bids.reports.rating.slab import Slab
from epvs_bids.reports.rating.store import Store

LOGGER = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
MAX_BODY = 256 * 1024
ASSETS = {
    "": ("rating.html", "text/html; charset=utf-8"),
    "rating.css": ("rating.css", "text/css; charset=utf-8"),
    "rating.js": ("rating.js", "text/javascript; charset=utf-8"),
    "viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
}
"""Every file that can be asked for; a path from a request is only ever looked up here."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_READING = re.compile(r"api/raters/([A-Za-z0-9-]{1,32})/readings/([0-9]{1,6})(/image)?")


class _Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is answered with a status other than 200."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def geometry(slab: Slab) -> dict[str, Any]:
    """Tell the page what it draws: sizes along x, y, z, and millimetres."""
    return {
        "shape": list(slab.data.shape[::-1]),
        "origin": list(slab.origin),
        "spacing": list(slab.spacing),
        "level": slab.level,
        "window": list(slab.window),
    }


def reading_answer(reading: Reading, slab: Slab) -> dict[str, Any]:
    """Tell the page of a reading: neither the scan's name nor whether it is a repeat."""
    own = {"marks": reading.marks, "level": reading.level, "state": reading.state}
    return {**own, "geometry": geometry(slab)}


class RatingServer(ThreadingHTTPServer):
    """Serves one store on the loopback interface.

    Parameters
    ----------
    store
        What is rated.
    port
        0: any that is free.
    """

    daemon_threads = True

    def __init__(self, store: Store, *, port: int = 0) -> None:
        self.store = store
        self.token = secrets.token_urlsafe(24)
        super().__init__((ADDRESS, port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        """Address of the page, with the secret."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Log what broke a connection; a page that was closed during an answer is nothing to report."""
        expected = isinstance(sys.exception(), ConnectionError | TimeoutError)
        LOGGER.log(logging.DEBUG if expected else logging.ERROR, "A connection broke off", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Checks a request, hands it to the store, and sends the answer."""

    server: RatingServer
    protocol_version = "HTTP/1.1"
    server_version = "epvs-rate"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._respond(self._get)

    def do_POST(self) -> None:
        self._respond(self._post)

    def _respond(self, method: Any) -> None:  # noqa: ANN401 - one of the two below
        try:
            body, kind = method(self._route())
            status = HTTPStatus.OK
        except _Refused as refused:
            self.close_connection = True  # what is left of its body is not read
            body, kind, status = str(refused).encode(), "text/plain", refused.status
        except EPVSError as error:
            body, kind, status = _json({"error": str(error)})[0], "application/json", HTTPStatus.CONFLICT
        except Exception:
            LOGGER.exception("The request could not be answered")
            message = "epvs-rate met an error; see where it was started. Nothing saved before is lost."
            body, kind = _json({"error": message})
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        self._send(status, body, kind)

    def _route(self) -> str:
        """Check who asks, and return the path below the secret."""
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            # A page elsewhere whose name resolves to this computer (DNS rebinding).
            raise _Refused(HTTPStatus.FORBIDDEN)
        token, slash, path = self.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN)
        return path

    def _get(self, path: str) -> tuple[bytes, str]:
        if path in ASSETS:
            name, kind = ASSETS[path]
            return (files("epvs_bids.data") / "rating" / name).read_bytes(), kind
        rater, position, image = self._reading(path)
        store = self.server.store
        reading, scan = store.reading(rater, position)
        slab = store.slab(scan)
        if image:
            store.prefetch(rater, position + 1)
            return slab.data.tobytes(), "application/octet-stream"
        return _json(reading_answer(reading, slab))

    def _post(self, path: str) -> tuple[bytes, str]:
        content = self._content()
        store = self.server.store
        if path == "api/session":
            if not isinstance(content, dict) or not isinstance(content.get("rater"), str):
                raise _Refused(HTTPStatus.BAD_REQUEST)
            return _json(store.begin(content["rater"]))
        rater, position, image = self._reading(path)
        if image:
            raise _Refused(HTTPStatus.NOT_FOUND)
        page = content.get("page") if isinstance(content, dict) else None
        store.save(rater, position, content, page=page)
        return _json(store.overview(rater))

    def _reading(self, path: str) -> tuple[str, int, bool]:
        match = _READING.fullmatch(path)
        if match is None:
            raise _Refused(HTTPStatus.NOT_FOUND)
        return match[1], int(match[2]), match[3] is not None

    def _content(self) -> object:
        """Read a JSON body that a page of ours sent."""
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN)
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refused(HTTPStatus.LENGTH_REQUIRED)
        if int(length) > MAX_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST) from error

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log without the secret."""
        LOGGER.debug("%s", (format % args).replace(self.server.token, "…"))


def _json(content: object) -> tuple[bytes, str]:
    return json.dumps(content).encode(), "application/json"
