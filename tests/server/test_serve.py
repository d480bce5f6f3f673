# SPDX-License-Identifier: Apache-2.0
"""`vkb serve` as its users run it: one process, real sockets, signals."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator

import pytest

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


class Server:
    """A running `vkb serve`."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.line = line
        found = re.search(r"(https?)://(.+):(\d+)$", line.strip())
        assert found, f"no ready line: {line!r}\n{process.communicate()[1]}"
        self.port = int(found.group(3))

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, object]:
        """Status and JSON of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, text, sent)
            reply = connection.getresponse()
            content = reply.read()
            is_json = reply.headers.get_content_type() == "application/json"
            return reply.status, json.loads(content) if is_json else content.decode()

    def collection(self, name: str) -> str:
        """Makes a collection; returns the path of its records' routes."""
        status, model = self.ask("POST", COLLECTIONS, {"name": name})
        assert status == 200, model
        return f"{COLLECTIONS}/{model['id']}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def serve(vkb_binary: pathlib.Path, tmp_path: pathlib.Path, store_dir: pathlib.Path):
    """serve("--read-only", …) is a context manager of a Server on `store_dir`."""

    @contextlib.contextmanager
    def run(*options: object, env: dict[str, str] | None = None, port: int = 0) -> Iterator[Server]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VKB_")}
        command = [vkb_binary, "serve", "--path", store_dir, "--port", port, *options]
        with subprocess.Popen(
            [str(each) for each in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**clean, **(env or {})},
            start_new_session=True,
            # A background job ignores SIGINT, and would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                yield Server(process, process.stdout.readline())
            finally:
                process.kill()

    return run


def test_the_ready_line_names_store_and_address(serve, store_dir):
    with serve() as server:
        assert server.line == f"vkb: serving {store_dir} at http://127.0.0.1:{server.port}\n"
        assert server.ask("GET", "/api/v2/version")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_what_was_acknowledged_stays(serve, number):
    with serve() as server:
        path = server.collection("notes")
        batch = {"ids": ["a", "b"], "embeddings": [[1.0, 0.0], [0.0, 1.0]]}
        assert server.ask("POST", f"{path}/add", batch) == (201, {})
        assert server.stop(number) == 128 + number
        error = server.process.stderr.read()
        assert error.startswith(f"vkb: stopped by {signal.Signals(number).name}: ")
    with serve() as server:
        assert server.ask("GET", f"{path}/count") == (200, 2)


def test_requests_in_progress_are_finished(serve):
    """Writers that never pause are answered or find the connection closed; what was answered is
    there afterwards, and nothing of what was not is there in part."""
    answered: list[int] = []
    with serve() as server:
        path = server.collection("notes")
        started = threading.Barrier(5)

        def write(first: int) -> None:
            for number in range(first, first + 1000):
                ids = [f"{number}-{i}" for i in range(20)]
                batch = {"ids": ids, "embeddings": [[1.0, float(number)]] * 20}
                try:
                    assert server.ask("POST", f"{path}/add", batch) == (201, {})
                except (OSError, http.client.HTTPException):
                    return
                answered.append(number)
                if number == first:
                    started.wait()

        threads = [threading.Thread(target=write, args=(i * 1000,)) for i in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        assert server.stop() == 143
        for thread in threads:
            thread.join()
    with serve() as server:
        status, found = server.ask("POST", f"{path}/get", {"include": []})
        assert status == 200
        numbers = [int(each.split("-")[0]) for each in found["ids"]]
        assert set(answered) <= set(numbers)
        assert all(numbers.count(each) == 20 for each in set(numbers))
        # At most the four that were on their way when it stopped.
        assert len(set(numbers) - set(answered)) <= 4


def test_reads_only_when_asked_to(serve):
    with serve() as server:
        path = server.collection("notes")
        batch = {"ids": ["a"], "embeddings": [[1.0, 0.0]]}
        assert server.ask("POST", f"{path}/add", batch)[0] == 201
    with serve("--read-only", "--allow-reset") as server:
        assert server.ask("GET", f"{path}/count") == (200, 1)
        for method, route, body in [
            ("POST", f"{path}/add", batch),
            ("POST", f"{path}/delete", {"ids": ["a"]}),
            ("POST", COLLECTIONS, {"name": "other"}),
            ("DELETE", f"{COLLECTIONS}/notes", None),
            ("POST", "/api/v2/reset", None),
        ]:
            status, answer = server.ask(method, route, body)
            assert (status, answer["error"]) == (403, "ChromaError"), route
        assert server.ask("GET", f"{path}/count") == (200, 1)


def test_reset_is_off_unless_allowed(serve):
    with serve() as server:
        assert server.ask("POST", "/api/v2/reset") == (
            403,
            {"error": "ChromaError", "message": "Reset is disabled by config"},
        )
    with serve("--allow-reset") as server:
        server.collection("notes")
        assert server.ask("POST", "/api/v2/reset") == (200, True)
        assert server.ask("GET", COLLECTIONS) == (200, [])


def test_tokens_and_passwords(serve, tmp_path):
    (tmp_path / "tokens").write_text("ann anns-token\n")
    (tmp_path / "users").write_text("bob:secret\n")
    options = ["--auth-token-file", "tokens", "--auth-basic-file", "users"]
    login = base64.b64encode(b"bob:secret").decode()
    with serve(*options, env={"VKB_AUTH_TOKEN": "environment"}) as server:
        identity = "/api/v2/auth/identity"
        status, answer = server.ask("GET", identity)
        assert (status, answer["error"]) == (401, "AuthError")
        for headers, user in [
            ({"Authorization": "Bearer anns-token"}, "ann"),
            ({"X-Chroma-Token": "environment"}, "anonymous"),
            ({"Authorization": f"Basic {login}"}, "bob"),
        ]:
            status, answer = server.ask("GET", identity, headers=headers)
            assert (status, answer["user_id"]) == (200, user)
        assert server.ask("GET", "/api/v2/heartbeat")[0] == 200
        assert server.ask("GET", "/metrics")[0] == 401
        assert server.ask("POST", COLLECTIONS, {"name": "notes"})[0] == 401


def test_tls(serve, tmp_path):
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        " -keyout key.pem -out cert.pem".split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with serve("--tls-cert", "cert.pem", "--tls-key", "key.pem") as server:
        assert "https://" in server.line
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        url = f"https://127.0.0.1:{server.port}/api/v2/version"
        with urllib.request.urlopen(url, context=trust, timeout=60) as reply:
            assert reply.status == 200


def test_the_configuration_file_and_the_access_log(serve, tmp_path):
    (tmp_path / "vkb.yaml").write_text(
        "server: {cors_allow_origins: ['https://app.example'], allow_reset: true,"
        " access_log: requests.jsonl}\n"
    )
    with serve() as server:
        assert server.ask("POST", "/api/v2/reset")[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/api/v2/version", headers={"Origin": "https://app.example"})
            reply = connection.getresponse()
            assert reply.getheader("access-control-allow-origin") == "https://app.example"
        assert server.stop() == 143
    lines = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert [(each["method"], each["path"], each["status"]) for each in lines] == [
        ("POST", "/api/v2/reset", 200),
        ("GET", "/api/v2/version", 200),
    ]
    assert [each["operation"] for each in lines] == ["reset", "version"]


def test_metrics_tell_of_requests_and_collections(serve):
    with serve() as server:
        path = server.collection("notes")
        batch = {"ids": ["a"], "embeddings": [[1.0, 0.0]]}
        assert server.ask("POST", f"{path}/add", batch)[0] == 201
        query = {"query_embeddings": [[1.0, 0.0]], "n_results": 1}
        assert server.ask("POST", f"{path}/query", query)[0] == 200
        status, text = server.ask("GET", "/metrics")
        assert status == 200
        values = dict(
            line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
        )
    labels = '{tenant="default_tenant",database="default_database",collection="notes"}'
    assert values[f"vkb_collection_records{labels}"] == "1"
    assert values['vkb_requests_total{operation="query",status="200"}'] == "1"
    assert values['vkb_request_seconds_bucket{operation="add",le="+Inf"}'] == "1"
    assert values['vkb_request_errors_total{operation="query"}'] == "0"
    assert float(values['vkb_store_bytes{kind="database"}']) > 0
    assert float(values["process_resident_memory_bytes"]) > 1e6
    assert 0 < float(values["vkb_store_open_seconds"]) < 60


def test_the_rules_and_the_dashboard_name_metrics_that_exist(serve):
    from support.services import ROOT

    with serve() as server:
        server.collection("notes")
        text = server.ask("GET", "/metrics")[1]
        known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    folder = ROOT / "docs/operations"
    for name in ["alerts.yaml", "dashboard.json"]:
        page = (folder / name).read_text(encoding="utf-8")
        used = set(re.findall(r"\b((?:vkb|process)_[a-z_]+)", page))
        used = {re.sub(r"_(bucket|sum|count)$", "", each) for each in used}
        assert used, name
        assert used <= known, used - known
    json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))


def test_listening_for_everybody_without_passwords_is_warned_of(serve):
    with serve("--host", "0.0.0.0") as server:
        server.stop()
        assert "vkb: warning: whoever reaches http://0.0.0.0:" in server.process.stderr.read()
    with serve("--host", "0.0.0.0", env={"VKB_AUTH_TOKEN": "token"}) as server:
        server.stop()
        assert "warning" not in server.process.stderr.read()


def test_a_damaged_store_is_served_and_said_to_be_damaged(vkb, serve, store_dir):
    with serve() as server:
        path = server.collection("notes")
        assert server.ask("GET", "/healthcheck")[0] == 200
        batch = {"ids": ["a"], "embeddings": [[1.0, 0.0]]}
        assert server.ask("POST", f"{path}/add", batch)[0] == 201
        sound = server.collection("sound")
        server.stop()
        assert "damaged" not in server.process.stderr.read()
    vkb("compact", "--path", store_dir, "--collection", "notes")
    [segment] = (store_dir / "segments").iterdir()
    with segment.open("r+b") as file:
        file.truncate(100)
    with serve() as server:
        assert server.line.startswith("vkb: serving ")
        for route in ["/healthcheck", "/api/v2/healthcheck"]:
            status, answer = server.ask("GET", route)
            assert status == 503
            assert segment.name in answer["message"]
            assert "`vkb check`" in answer["message"]
        assert server.ask("GET", f"{sound}/count") == (200, 0)  # the others are there
        server.stop()
        [warning, _] = server.process.stderr.read().splitlines()
        assert warning.startswith("vkb: warning: the store is damaged")
        assert segment.name in warning and "`vkb check`" in warning
    assert vkb("check", "--path", store_dir, check=False).returncode == 1


def test_mistakes_are_told_before_anything_is_served(vkb, serve, store_dir):
    with serve() as server:
        done = vkb("serve", "--path", store_dir, "--port", server.port, check=False)
        assert done.returncode == 1
        assert done.stderr == (
            f"vkb: error: cannot listen on 127.0.0.1 port {server.port}: Address already in use\n"
        )
    for options, message in [
        (["--auth-token-file", "absent"], "absent: cannot read this file"),
        (["--tls-cert", "absent.pem"], "TLS needs a certificate and a key"),
        (["--host", "no.such.host.invalid"], "the host is unknown"),
        (["--access-log", "/no/such/folder/log"], "cannot open the access log"),
    ]:
        done = vkb("serve", "--path", store_dir, "--port", 0, *options, check=False)
        assert done.returncode == 1, options
        assert message in done.stderr
    for options in (["--port", "70000"], ["--threads", "0"], ["--max-body", "none"]):
        assert vkb("serve", "--path", store_dir, *options, check=False).returncode == 2


def test_a_server_beside_the_writer_reads_and_answers_writes_with_503(serve, store_dir):
    with serve() as writer:
        path = writer.collection("notes")  # from here on it holds the writer lock
        with serve("--lock-timeout", "0.1") as other:
            assert other.ask("GET", f"{path}/count") == (200, 0)
            status, answer = other.ask("POST", COLLECTIONS, {"name": "other"})
            assert (status, answer["error"]) == (503, "ChromaError")
            assert f"pid {writer.process.pid}" in answer["message"]
        batch = {"ids": ["a"], "embeddings": [[1.0, 0.0]]}
        assert writer.ask("POST", f"{path}/add", batch)[0] == 201
