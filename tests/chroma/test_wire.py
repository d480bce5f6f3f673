# SPDX-License-Identifier: Apache-2.0
"""Raw requests, their statuses, error names and texts: the tables of support/wire and what does not
fit into a table, on `vkb serve` and on the real `chroma run`."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import socket
from collections.abc import Iterator

import pytest

from support.chroma import DATABASE, ChromaServer
from support.wire import ALL
from support.wire_rows import DROPPED, Expected, Row

COLLECTIONS = DATABASE + "/collections"
RECORDS = {
    "ids": ["a", "b", "c"],
    "embeddings": [[1, 0], [0, 1], [1, 1]],
    "documents": ["dog cat", "Bird é", None],
    "metadatas": [
        {"n": 1, "s": "x", "f": 1.5, "t": True, "e": []}
        | {"l": [1, 2], "ls": ["x", "y"], "lf": [1, 2.5]},
        {"n": 2},
        None,
    ],
    "uris": ["u1", None, None],
}
numbers = itertools.count()


@pytest.fixture(scope="module", params=["vkb", "chroma"])
def server(request: pytest.FixtureRequest) -> ChromaServer:
    return request.getfixturevalue(f"{request.param}_server")


def new_collection(server: ChromaServer, records: dict | None = RECORDS) -> dict:
    answer = server.request("POST", COLLECTIONS, {"name": f"wire-{next(numbers)}"})
    assert answer.status == 200, answer
    if records:
        path = f"{COLLECTIONS}/{answer.json['id']}/add"
        assert server.request("POST", path, records).status == 201
    return answer.json


@pytest.fixture(scope="module")
def shared(server: ChromaServer) -> dict[str, str]:
    """What the tables' placeholders stand for, as far as rows share it."""
    one, other = new_collection(server), new_collection(server, None)
    spelled = {"id": one["id"], "ID": one["id"].upper(), "hex": one["id"].replace("-", "")}
    return {**spelled, "D": DATABASE, "name": one["name"], "other": other["name"]}


@contextlib.contextmanager
def collection_path(server: ChromaServer, records: dict | None) -> Iterator[str]:
    made = new_collection(server, records)
    try:
        yield f"{COLLECTIONS}/{made['id']}"
    finally:
        server.request("DELETE", f"{COLLECTIONS}/{made['name']}")


def fill(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def check(row: Row, expected: Expected, answer, values: dict[str, str]) -> None:
    shown = f"{answer.status} {answer.body[:400]!r}"
    assert answer.status == expected.status, shown
    if expected.error is not None and row.method != "HEAD":
        assert answer.headers["content-type"] == "application/json"
        assert sorted(answer.json) == ["error", "message"], shown
        assert answer.json["error"] == expected.error, shown
        message = expected.message
        if isinstance(message, re.Pattern):
            pattern = re.compile(fill(message.pattern, values), message.flags)
            assert pattern.fullmatch(answer.json["message"]), shown
        elif message is not None:
            assert answer.json["message"] == fill(message, values)
    elif row.method == "HEAD" or answer.status in (404, 405):
        assert answer.body == b"", shown
        if answer.status == 405:
            assert answer.headers["allow"]
    elif callable(expected.body):
        assert expected.body(answer.json), shown
    elif expected.body is not None:
        assert answer.json == expected.body, shown


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=f"{group} {row.name()}") for group, rows in ALL.items() for row in rows],
)
def test_an_answer(server: ChromaServer, shared: dict[str, str], row: Row):
    values = {**shared, "new": f"new-{next(numbers)}"}
    with contextlib.ExitStack() as stack:
        for placeholder, records in (("C", RECORDS), ("E", None)):
            if f"{{{placeholder}}}" in row.path:
                values[placeholder] = stack.enter_context(collection_path(server, records))
        body = row.request
        if body is not None and not isinstance(body, bytes):
            body = fill(json.dumps(body), values).encode()
        expected = row.vkb if row.vkb and server.name == "vkb" else row.expected
        try:
            answer = server.request(row.method, fill(row.path, values), body, row.headers)
        except http.client.RemoteDisconnected:
            assert expected.status == DROPPED
        else:
            check(row, expected, answer, values)
        # Some rows rename the shared collection.
        if row.method == "PUT" and b"new_name" in (body or b"") and answer.status == 200:
            path = f"{COLLECTIONS}/{shared['id']}"
            assert server.request("PUT", path, {"new_name": shared["name"]}).status == 200


def raw_answer(server: ChromaServer, data: bytes, half_close: bool = False) -> bytes:
    """All that the server sends in answer to these bytes, until it closes or has answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
                if not half_close and b"\r\n\r\n" in received:
                    break
        return received


def still_answers(server: ChromaServer) -> bool:
    return server.request("GET", "/api/v2/heartbeat").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"where":' + b'{"$and":[' * 100_000,
        b'{"where":' + b'{"$and":[' * 50_000 + b"]}" * 50_000 + b"}",
        b'{"ids":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"where_document":' + b'{"$or":[' * 300 + b'{"$contains":"x"}' + b"]}" * 300 + b"}",
    ],
    ids=["brackets", "objects", "open-where", "where", "ids", "where-document"],
)
@pytest.mark.parametrize("route", ["get", "add", "query", "delete"])
def test_deep_nesting_is_refused(server: ChromaServer, shared, route: str, body: bytes):
    answer = server.request("POST", f"{COLLECTIONS}/{shared['id']}/{route}", body)
    assert answer.status in (400, 422)
    assert answer.json["error"] in ("InvalidArgumentError", "ChromaError")
    assert still_answers(server)


@pytest.mark.parametrize(
    "cut", [b'{"ids":["a","b', b'{"ids":["a"],"embeddings":[[1,2', b'{"ids":["a"]', b""]
)
def test_a_body_that_ends_early_is_refused_whatever_its_length_says(server, shared, cut):
    path = f"{COLLECTIONS}/{shared['id']}/upsert"
    answer = server.request("POST", path, cut)
    assert (answer.status, answer.json["error"]) == (400, "InvalidArgumentError")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    announced = f"{head}Content-Length: {len(cut) + 10}\r\n\r\n".encode() + cut
    received = raw_answer(server, announced, half_close=True)
    assert received == b"" or received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408")), received
    assert still_answers(server)


def test_a_chunked_body_is_a_body(server: ChromaServer, shared):
    body = json.dumps({"ids": ["a"], "include": []}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = f"POST {COLLECTIONS}/{shared['id']}/get HTTP/1.1\r\nHost: x\r\n"
    received = raw_answer(
        server, f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + chunks
    )
    assert received.startswith(b"HTTP/1.1 200"), received


@pytest.mark.parametrize(
    ("route", "message"),
    [("add", None), ("upsert", None), ("update", None), ("query", None), ("", "length limit")],
)
def test_a_body_over_40_mib_is_refused(server: ChromaServer, shared, route, message):
    """By its announced length, so that it need not be sent."""
    path = f"{COLLECTIONS}/{shared['id']}/{route}" if route else COLLECTIONS
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {41 * 2**20}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        received = b""
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            for _ in range(41 if server.name == "chroma" else 0):
                connection.sendall(b" " * 2**20)
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
                received += chunk
    assert received.startswith(b"HTTP/1.1 413"), received
    if message is None:
        assert b"Payload too large" in received
    assert still_answers(server)


def test_the_largest_batch_of_the_clients_fits(server: ChromaServer):
    collection = new_collection(server, None)
    count, dim = 5461, 768
    vector = [0.5] * (dim - 1)
    batch = {
        "ids": [f"id {n}" for n in range(count)],
        "embeddings": [[n / 8, *vector] for n in range(count)],
        "documents": [f"document {n}" for n in range(count)],
    }
    path = f"{COLLECTIONS}/{collection['id']}"
    assert server.request("POST", path + "/add", batch).status == 201
    assert server.request("GET", path + "/count").json == count
    last = server.request(
        "POST", path + "/get", {"offset": count - 1, "include": ["embeddings", "documents"]}
    ).json
    assert last["ids"] == [f"id {count - 1}"]
    assert last["documents"] == [f"document {count - 1}"]
    assert last["embeddings"][0] == batch["embeddings"][-1]
    server.request("DELETE", f"{COLLECTIONS}/{collection['name']}")


def test_floats_are_written_short_and_exact(server: ChromaServer):
    collection = new_collection(server, None)
    path = f"{COLLECTIONS}/{collection['id']}"
    numbers_sent = [0.051316738, 1.0, -0.0, 3.4028235e38, 1e-45, 16777217.0]
    server.request("POST", path + "/add", {"ids": ["a"], "embeddings": [numbers_sent]})
    answer = server.request("POST", path + "/get", {"include": ["embeddings"]})
    written = re.search(rb'"embeddings":\[\[([^]]+)\]', answer.body)[1].decode().split(",")
    assert written[:2] == ["0.051316738", "1.0"]
    assert [float(text) for text in written] == [0.051316738, 1, 0, 3.4028235e38, 1e-45, 16777216]
    server.request("DELETE", f"{COLLECTIONS}/{collection['name']}")


def test_a_browser_is_let_in(server: ChromaServer):
    asked = {"Origin": "http://site.example", "Access-Control-Request-Method": "POST"}
    answer = server.request("OPTIONS", COLLECTIONS, None, asked)
    assert answer.status == 200
    for header in ("origin", "methods", "headers"):
        assert answer.headers[f"access-control-allow-{header}"] == "*"
    plain = server.request("GET", "/api/v2/heartbeat", None, {"Origin": "http://site.example"})
    assert plain.headers["access-control-allow-origin"] == "*"


def test_an_error_carries_a_trace_id(server: ChromaServer):
    answer = server.request("GET", "/api/v2/tenants/nope")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["chroma-trace-id"])


def test_metadata_of_nulls_only_is_none(server: ChromaServer):
    made = new_collection(server, None)
    path = f"{COLLECTIONS}/{made['id']}"
    for metadata, kept in (({"a": 1, "b": None}, {"a": 1}), ({"a": None}, None)):
        assert server.request("PUT", path, {"new_metadata": metadata}).status == 200
        assert server.request("GET", f"{COLLECTIONS}/{made['name']}").json["metadata"] == kept


def test_the_first_vector_sets_the_dimension_even_if_it_updates_nothing(server: ChromaServer):
    made = new_collection(server, None)
    path = f"{COLLECTIONS}/{made['id']}"
    update = {"ids": ["nope"], "embeddings": [[1, 2, 3]]}
    assert server.request("POST", f"{path}/update", update).status == 200
    assert server.request("GET", f"{COLLECTIONS}/{made['name']}").json["dimension"] == 3
    refused = server.request("POST", f"{path}/add", {"ids": ["a"], "embeddings": [[1, 2]]})
    assert refused.json["message"] == "Collection expecting embedding with dimension of 3, got 2"


def test_reset_empties_the_server_and_brings_the_default_place_back(server: ChromaServer):
    server.request("POST", "/api/v2/tenants", {"name": "reset-me"})
    new_collection(server)
    answer = server.request("POST", "/api/v2/reset")
    assert (answer.status, answer.json) == (200, True)
    assert server.request("GET", COLLECTIONS).json == []
    assert server.request("GET", "/api/v2/tenants/reset-me").status == 404
    assert [d["name"] for d in server.request("GET", DATABASE[: DATABASE.rindex("/")]).json] == [
        "default_database"
    ]
