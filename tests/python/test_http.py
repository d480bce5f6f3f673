# SPDX-License-Identifier: Apache-2.0
"""The client of a server: connections, addresses, headers, refusals. (test_every_client.py has what
it shares with the others.)"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import vkb
from support import chroma, services
from vkb.api_http import server_url


@pytest.fixture
def own_server(vkb_binary: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[chroma.ChromaServer]:
    """One to stop and start."""
    with chroma.vkb_serve(vkb_binary, tmp_path) as server:
        yield server


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers as the class says and remembers what came."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, tuple[int, str]] = {}
    seen: list[tuple[str, str, dict[str, str]]] = []

    def do_GET(self) -> None:
        path = self.path.split("/api/v2")[-1]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        database = {"id": "0", "name": "default_database", "tenant": "default_tenant"}
        identity = {"user_id": "me", "tenant": "t", "databases": ["only"]}
        usual = {"/auth/identity": identity, "/tenants/t": {"name": "t"}}
        status, text = self.answers.get(path, (200, json.dumps(usual.get(path, database))))
        self.send_response(status)
        self.send_header("chroma-trace-id", "abc")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_PUT = do_GET

    def log_message(self, *arguments: Any) -> None: ...


@contextlib.contextmanager
def recorded(**answers: tuple[int, str]) -> Iterator[tuple[int, list]]:
    """A server that answers to "/path" as given: its port, and what it has seen."""
    handler = type("Handler", (Recorder,), {"answers": answers, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port, handler.seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("host", "ssl", "url"),
    [
        ("localhost", False, "http://localhost:8000/api/v2"),
        ("localhost", True, "https://localhost:8000/api/v2"),
        ("::1", False, "http://[::1]:8000/api/v2"),
        ("http://host:1234", False, "http://host:1234/api/v2"),
        ("https://host/chroma/", False, "https://host/chroma/api/v2"),
        ("http://host/api/v2", True, "https://host/api/v2"),
    ],
)
def test_addresses(host: str, ssl: bool, url: str):
    assert server_url(host, 8000, ssl) == url


def test_addresses_that_are_none():
    for host in ("ftp://host", "host/path"):
        with pytest.raises(ValueError, match="Invalid URL"):
            vkb.HttpClient(host)


def test_nobody_answers():
    port = services.free_port()
    for host in ("127.0.0.1", f"http://127.0.0.1:{port}/foo?x"):
        with pytest.raises(ValueError, match="Could not connect to a Chroma server") as caught:
            vkb.HttpClient(host, port)
        path = "/foo/api/v2" if "?" in host else "/api/v2"
        assert f"http://127.0.0.1:{port}{path}: " in str(caught.value)
        assert "refused" in str(caught.value)


def test_headers_and_credentials():
    token = "chromadb.auth.token_authn.TokenAuthClientProvider"
    basic = "chromadb.auth.basic_authn.BasicAuthClientProvider"
    with recorded() as (port, seen):
        for options, name, value in (
            ({"headers": {"X-Chroma-Token": "hush"}}, "x-chroma-token", "hush"),
            ({"settings": (token, "hush", None)}, "authorization", "Bearer hush"),
            ({"settings": (token, "hush", "X-Chroma-Token")}, "x-chroma-token", "hush"),
            (
                {"settings": (token, "hush", vkb.TokenTransportHeader.X_CHROMA_TOKEN)},
                "x-chroma-token",
                "hush",
            ),
            ({"settings": (basic, "u:p", None)}, "authorization", "Basic dTpw"),
        ):
            if "settings" in options:
                provider, secret, header = options["settings"]
                options["settings"] = vkb.Settings(
                    chroma_client_auth_provider=provider,
                    chroma_client_auth_credentials=secret,
                    chroma_auth_token_transport_header=header,
                )
                assert secret not in repr(options["settings"])
            vkb.HttpClient("127.0.0.1", port, **options).close()
            assert all(headers[name] == value for _, _, headers in seen)
            assert len(seen) == 3
            seen.clear()


def test_the_place_may_come_from_the_identity():
    with recorded() as (port, seen):
        client = vkb.CloudClient(
            api_key="k", cloud_host="127.0.0.1", cloud_port=port, enable_ssl=False
        )
        assert (client.tenant, client.database) == ("t", "only")
        assert {headers["x-chroma-token"] for _, _, headers in seen} == {"k"}
        assert [path for _, path, _ in seen][-1] == "/api/v2/tenants/t/databases/only"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, '{"error":"InvalidArgumentError","message":"no"}', "InvalidArgumentError", "^no$"),
        (401, '{"error":"ChromaError","message":"no"}', "AuthorizationError", "^no$"),
        (403, '{"error":"ChromaError","message":"no"}', "AuthorizationError", "^no$"),
        (403, '{"error":"AuthError","message":"no"}', "ChromaAuthError", "^no$"),
        (409, '{"error":"ChromaError","message":"no"}', "UniqueConstraintError", "^no$"),
        (429, '{"error":"RateLimitError","message":"no"}', "RateLimitError", "^no$"),
        (413, "Payload too large", "ChromaError", "^Payload too large$"),
        (502, "<html>", "ChromaError", "<html>"),
        (503, "", "ChromaError", "HTTP status 503"),
        (500, "[1]", "ChromaError", r"\[1\]"),
        (500, '{"error":5,"message":{}}', "ChromaError", "error"),
    ],
)
def test_refusals(status: int, body: str, kind: str, message: str):
    with recorded(**{"/version": (status, body)}) as (port, _):
        client = vkb.HttpClient("127.0.0.1", port)
        with pytest.raises(vkb.errors.ChromaError, match=message) as caught:
            client.get_version()
        assert type(caught.value).__name__ == kind
        assert caught.value.trace_id == "abc"


def test_what_json_cannot_say_is_not_sent(vkb_server: chroma.ChromaServer):
    real = vkb.HttpClient("127.0.0.1", vkb_server.port)
    notes = real.get_or_create_collection("numbers", embedding_function=None)
    nan, lone = float("nan"), "\ud800"
    with recorded() as (port, seen):
        client = vkb.HttpClient("127.0.0.1", port)
        notes._client = client._server
        seen.clear()
        for kind, call in (
            (vkb.errors.InvalidArgumentError, lambda: notes.query(query_embeddings=[[1, nan]])),
            (vkb.errors.InvalidArgumentError, lambda: notes.query(query_embeddings=[[1e39]])),
            (vkb.errors.InvalidArgumentError, lambda: notes.get(where={"a": nan})),
            (vkb.errors.InvalidArgumentError, lambda: notes.modify(metadata={"a": nan})),
            (vkb.errors.InvalidArgumentError, lambda: notes.add(["a"], [[nan]])),
            (UnicodeEncodeError, lambda: notes.get(ids=[lone])),
            (UnicodeEncodeError, lambda: notes.get(where_document={"$contains": lone})),
            (UnicodeEncodeError, lambda: client.get_collection(lone)),
        ):
            with pytest.raises(kind):
                call()
        assert seen == []
    real.delete_collection("numbers")
    real.close()


def test_an_answer_that_is_no_json():
    with recorded(**{"/version": (200, "<html>")}) as (port, _):
        with pytest.raises(ValueError):
            vkb.HttpClient("127.0.0.1", port).get_version()


def test_connections_are_kept_and_shared_by_threads(vkb_server: chroma.ChromaServer):
    client = vkb.HttpClient("127.0.0.1", vkb_server.port)
    notes = client.get_or_create_collection("threads", embedding_function=None)

    def work(thread: int) -> None:
        for n in range(25):
            name = f"{thread}-{n}"
            notes.upsert(ids=[name], embeddings=[[thread, n]], documents=[name])
            assert notes.get(ids=[name])["documents"] == [name]
            assert notes.query(query_embeddings=[[thread, n]], n_results=1)["ids"] == [[name]]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert notes.count() == 150
    assert 1 <= len(client._server._connections._idle) <= 7
    client.delete_collection("threads")
    client.close()


def test_a_server_that_was_restarted(own_server: chroma.ChromaServer):
    """A connection that the server has closed meanwhile is replaced, and no request is lost."""
    url = f"http://127.0.0.1:{own_server.port}"
    client = vkb.HttpClient(url)
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=[[1, 2]])
    port = own_server.port
    own_server.command[own_server.command.index("--port") + 1] = str(port)
    own_server.restart()
    notes.add(ids=["b"], embeddings=[[3, 4]])
    assert notes.get()["ids"] == ["a", "b"]
    own_server.signal()
    own_server.wait()
    with pytest.raises(ConnectionError):
        notes.count()


@pytest.fixture
def guarded(vkb_binary: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[tuple[int, pathlib.Path]]:
    """A server with TLS and a token, "hush": its port and certificate."""
    certificate, key, tokens = (tmp_path / name for name in ("cert.pem", "key.pem", "tokens"))
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tokens.write_text("hush\n")
    command = [str(vkb_binary), "serve", "--path", str(tmp_path / "store"), "--port", "0"]
    command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    command += ["--auth-token-file", str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline().rsplit(":", 1)[1]), certificate
        finally:
            services.stop(server)


def test_tls_and_a_token(guarded: tuple[int, pathlib.Path]):
    port, certificate = guarded
    token = {"Authorization": "Bearer hush"}
    trusting = vkb.Settings(chroma_server_ssl_verify=str(certificate))
    client = vkb.HttpClient("127.0.0.1", port, ssl=True, headers=token, settings=trusting)
    notes = client.create_collection("notes", embedding_function=None)
    (kept,) = client._server._connections._idle
    notes.add(ids=["a"], embeddings=[[1, 2]])
    assert notes.get()["ids"] == ["a"]
    assert client._server._connections._idle[0][1] is kept[1]
    careless = vkb.Settings(chroma_server_ssl_verify=False)
    other = vkb.HttpClient("127.0.0.1", port, ssl=True, headers=token, settings=careless)
    assert other.get_collection("notes").count() == 1
    with pytest.raises(ValueError, match="Could not connect") as caught:
        vkb.HttpClient("127.0.0.1", port, ssl=True, headers=token)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert "TLS: the server's certificate is not trusted" in str(caught.value)
    assert "chroma_server_ssl_verify" in str(caught.value)
    with pytest.raises(ValueError, match=r"does the server speak TLS \(ssl=True\)\?"):
        vkb.HttpClient("127.0.0.1", port, headers=token)
    with pytest.raises((vkb.errors.ChromaAuthError, vkb.errors.AuthorizationError)):
        vkb.HttpClient("127.0.0.1", port, ssl=True, settings=trusting)


def test_tls_to_a_server_without():
    with recorded() as (port, _):
        with pytest.raises(ValueError, match=f"https://127.0.0.1:{port}.*TLS: .*ssl=False"):
            vkb.HttpClient("127.0.0.1", port, ssl=True)


def test_functions_of_a_server_that_has_them(vkb_server: chroma.ChromaServer):
    """Chroma's cloud: what is sent, and what is made of the answer."""
    with vkb.HttpClient("127.0.0.1", vkb_server.port) as real:
        notes = real.get_or_create_collection("functions", embedding_function=None)
        real.delete_collection("functions")
    path = f"/tenants/default_tenant/databases/default_database/collections/{notes.id}"
    function = {"id": str(notes.id), "name": "n", "function_name": "statistics"}
    made = json.dumps({"attached_function": function, "created": True})
    got = json.dumps({"attached_function": {**function, "output_collection": "out"}})
    answers = {
        f"{path}/functions/attach": (200, made),
        f"{path}/functions/n": (200, got),
        f"{path}/attached_functions/n/detach": (200, '{"success":true}'),
    }
    with recorded(**answers) as (port, seen):
        notes._client = vkb.HttpClient("127.0.0.1", port)._server
        attached, created = notes.attach_function("statistics", "n", "out", {"a": 1})
        assert created
        assert (attached.id, attached.name, attached.params) == (notes.id, "n", {"a": 1})
        found = notes.get_attached_function("n")
        assert (found.function_name, found.output_collection) == ("statistics", "out")
        assert found.input_collection_id == notes.id
        assert notes.detach_function("n") is True
        assert [method for method, _, _ in seen[-3:]] == ["POST", "GET", "POST"]


def test_a_forked_child_has_connections_of_its_own(vkb_server: chroma.ChromaServer):
    client = vkb.HttpClient("127.0.0.1", vkb_server.port)
    assert client.heartbeat() > 0
    child = os.fork()
    if child == 0:
        os._exit(0 if client.count_collections() >= 0 and client.heartbeat() > 0 else 1)
    assert client.heartbeat() > 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_names_in_paths(vkb_server: chroma.ChromaServer):
    """What is in a name stays in its place of the path."""
    client = vkb.HttpClient("127.0.0.1", vkb_server.port)
    for name in ("../../reset", "a/b", "a?b=c", "a#b", "a%2fb", "é"):
        with pytest.raises(vkb.errors.ChromaError):
            client.get_collection(name)


def test_batches_that_are_too_large(vkb_server: chroma.ChromaServer):
    client = vkb.HttpClient("127.0.0.1", vkb_server.port)
    notes = client.get_or_create_collection("large", embedding_function=None)
    most = client.get_max_batch_size()
    ids = [str(n) for n in range(most + 1)]
    with pytest.raises(ValueError, match=f"exceeds maximum batch size {most}"):
        notes.add(ids=ids, embeddings=np.zeros((most + 1, 2)))
    notes.add(ids=ids[:most], embeddings=np.ones((most, 2)))
    assert notes.count() == most
    client.delete_collection("large")
