from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from epvs_bids.reports.rating.server import ADDRESS, MAX_BODY, RatingServer

Serve = Callable[..., RatingServer]


def ask(
    server: RatingServer, path: str, *, method: str = "GET", body: object = None, **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given = {"Content-Type": "application/json", **given}
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, body=body, headers=given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def below(server: RatingServer, path: str) -> str:
    return f"/{server.token}/{path}"


def test_listens_on_loopback_only(output: Path, serve: Serve) -> None:
    server = serve(output)
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    assert serve(output).token != server.token


def test_page_and_headers(output: Path, serve: Serve) -> None:
    server = serve(output)
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=60)
    connection.request("GET", below(server, ""))
    answer = connection.getresponse()
    assert answer.status == 200
    assert b"<title>Count EPVS</title>" in answer.read()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    connection.close()


@pytest.mark.fault(
    "Another user of the machine, who opens the rating page without its token",
    says="Forbidden",
    code="HTTP 403",
    keeps="the page is on the loopback address only, and for who has the token",
)
@pytest.mark.parametrize("path", ["/", "", "/wrong/", "/{half}/", "/{token}", "/{token}x/", "/rating.js"])
def test_without_the_secret_nothing_is_answered(output: Path, serve: Serve, path: str) -> None:
    server = serve(output)
    status, content = ask(server, path.format(token=server.token, half=server.token[:-1]) or "/")
    assert (status, content) == (403, b"Forbidden")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil:{port}"]
)
def test_other_host_names_are_refused(output: Path, serve: Serve, host: str) -> None:
    server = serve(output)
    assert ask(server, below(server, ""), Host=host.format(port=server.server_port))[0] == 403
    assert ask(server, below(server, ""), Host=f"localhost:{server.server_port}")[0] == 200


@pytest.mark.fault(
    "Addresses below the rating page that lead out of its folder",
    says="",
    code="HTTP 404",
    keeps="nothing is read or written there",
)
@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc/passwd",
        "/etc/passwd",
        "rating.html/../../cli.py",
        "api/raters/../readings/0",
        "api/raters/..%2f/readings/0",
        "api/raters/A/readings/-1",
        "api/raters/A/readings/0/image/../x",
        "%00",
    ],
)
def test_paths_lead_nowhere_else(output: Path, serve: Serve, path: str) -> None:
    server = serve(output)
    assert ask(server, below(server, path))[0] == 404
    assert not list(output.rglob("rater-*"))


@pytest.mark.fault(
    "Another web page that posts ratings", says="", code="HTTP 403", keeps="the ratings that were there"
)
def test_posts_of_other_pages_are_refused(output: Path, serve: Serve) -> None:
    server = serve(output)
    path, body = below(server, "api/session"), {"rater": "A"}
    assert ask(server, path, method="POST", body=body, Origin="http://evil.example")[0] == 403
    assert ask(server, path, method="POST", body=body, Content_Type="text/plain")[0] == 415
    assert ask(server, path, method="POST", body=b"{")[0] == 400
    assert ask(server, path, method="POST", body=b"[" * 100_000)[0] == 400
    assert ask(server, path, method="POST", body={"rater": 3})[0] == 400
    assert ask(server, path, method="POST", body={}, Content_Length=str(MAX_BODY + 1))[0] == 413
    assert ask(server, path, method="POST", body={}, Content_Length="-5")[0] == 411
    assert ask(server, path, method="POST", body=body, Origin=server.url.rsplit("/", 2)[0])[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS"])
def test_other_methods(output: Path, serve: Serve, method: str) -> None:
    server = serve(output)
    assert ask(server, below(server, ""), method=method)[0] == 501


def test_blind_from_the_first_answer_to_the_last(output: Path, serve: Serve) -> None:
    server = serve(output, repeats=1.0)
    status, session = ask(server, below(server, "api/session"), method="POST", body={"rater": "A"})
    assert status == 200
    states = json.loads(session)["states"]
    told = [(set(json.loads(session)) - {"table", "marks"})]
    for position in range(len(states)):
        answer = ask(server, below(server, f"api/raters/A/readings/{position}"))[1]
        told.append(set(json.loads(answer)))
        assert b"sub-" not in answer
        assert json.loads(answer)["marks"] == []
    assert told == [{"rater", "states", "page"}] + [{"marks", "level", "state", "geometry"}] * len(states)


def test_errors_come_as_text(output: Path, serve: Serve) -> None:
    server = serve(output)
    status, content = ask(server, below(server, "api/session"), method="POST", body={"rater": "<script>"})
    assert status == 409
    assert "<script>" in json.loads(content)["error"]
    session = ask(server, below(server, "api/session"), method="POST", body={"rater": "A"})[1]
    assert ask(server, below(server, "api/raters/A/readings/99"))[0] == 409
    page, path = json.loads(session)["page"], below(server, "api/raters/A/readings/0")
    wrong = ask(server, path, method="POST", body={"marks": 3, "page": page})
    assert wrong[0] == 409
    assert "not a reading" in json.loads(wrong[1])["error"]
    ask(server, below(server, "api/session"), method="POST", body={"rater": "A"})
    stale = ask(server, path, method="POST", body={"marks": [], "level": None, "state": "open", "page": page})
    assert stale[0] == 409
    assert "another window" in json.loads(stale[1])["error"]


def test_voxels_are_sent_as_they_are(output: Path, serve: Serve) -> None:
    server = serve(output)
    ask(server, below(server, "api/session"), method="POST", body={"rater": "A"})
    shape = json.loads(ask(server, below(server, "api/raters/A/readings/0"))[1])["geometry"]["shape"]
    voxels = ask(server, below(server, "api/raters/A/readings/0/image"))[1]
    assert len(voxels) == shape[0] * shape[1] * shape[2]
    scan = server.store.reading("A", 0)[1]
    assert voxels == server.store.slab(scan).data.tobytes()
