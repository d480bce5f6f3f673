# SPDX-License-Identifier: Apache-2.0
"""query --text and documents without embeddings, against a small server that speaks Ollama's and
OpenAI's protocol, and against the real model where it is installed."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from support.cli import is_one_error_line, lines


class Handler(http.server.BaseHTTPRequestHandler):
    """Texts become [length, number of a's, 1]."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body, dict(self.headers)))
        self.server.meanwhile()
        vectors = [[float(len(t)), float(t.count("a")), 1.0] for t in body.get("input", [])]
        if body["model"] == "missing":
            return self.answer(404, {"error": "model 'missing' not found"})
        if self.path == "/api/embed":
            return self.answer(200, {"embeddings": vectors})
        if self.path == "/v1/embeddings":
            data = [{"index": i, "embedding": v} for i, v in enumerate(vectors)]
            return self.answer(200, {"data": data})
        return self.answer(404, {"error": "no such path"})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    server.meanwhile = lambda: None  # called before an answer
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


DOCUMENTS = [{"id": name, "document": name * 3} for name in ("a", "b", "ab")]


@pytest.fixture
def store(vkb, store_dir, endpoint):
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes", "--space", "l2",
        "--embed-url", endpoint.url, "--model", "tiny", input=lines(DOCUMENTS))  # fmt: skip
    return store_dir


def test_documents_and_queries_are_embedded_with_the_same_model(vkb, store, endpoint):
    assert json.loads(vkb("info", "--path", store, "--json").stdout)["model"] == "tiny"
    path, body, _ = endpoint.requests[-1]
    assert path == "/api/embed"
    assert body == {"model": "tiny", "input": ["aaa", "bbb", "ababab"]}
    # The model comes from the collection.
    done = vkb("query", "--text", "aaa", "--path", store, "--embed-url", endpoint.url, "--json")
    assert json.loads(done.stdout)["ids"] == [["a", "b", "ab"]]
    assert endpoint.requests[-1][1]["model"] == "tiny"


def test_mixed_lines_keep_the_embeddings_they_have(vkb, store, endpoint):
    given = [{"id": "x", "embedding": [9, 9, 9], "document": "aa"}, {"id": "y", "document": "aa"}]
    vkb("add", "--jsonl", "-", "--path", store, "--embed-url", endpoint.url, input=lines(given))
    done = vkb("get", "--id", "x", "y", "--include", "embeddings", "--path", store, "--json")
    assert json.loads(done.stdout)["embeddings"] == [[9, 9, 9], [2, 2, 1]]


def test_the_config_file_names_the_endpoint_and_the_prefixes(vkb, store_dir, tmp_path, endpoint):
    (tmp_path / "vkb.yaml").write_text(
        f"vector_store: {{ path: {store_dir}, collection: notes }}\n"
        f"embedding: {{ provider: ollama, url: {endpoint.url}, model: nomic-embed-text }}\n"
    )
    vkb("add", "--jsonl", "-", input=lines(DOCUMENTS[:1]))
    assert endpoint.requests[-1][1]["input"] == ["search_document: aaa"]
    vkb("query", "--text", "hello")
    assert endpoint.requests[-1][1]["input"] == ["search_query: hello"]
    (tmp_path / "vkb.yaml").write_text(
        f"vector_store: {{ path: {store_dir} }}\n"
        f"embedding: {{ url: {endpoint.url}, query_prefix: 'Q: ' }}\n"
    )
    vkb("query", "--text", "hello")
    assert endpoint.requests[-1][1]["input"] == ["Q: hello"]


def test_an_openai_compatible_server(vkb, store, endpoint):
    for url in (endpoint.url, endpoint.url + "/v1/"):
        done = vkb("query", "--text", "bbb", "--embed-provider", "openai", "--embed-url", url,
                   "--path", store, "--json", env={"OPENAI_API_KEY": "secret-key"})  # fmt: skip
        assert json.loads(done.stdout)["ids"][0][0] == "b"
        path, _, headers = endpoint.requests[-1]
        assert path == "/v1/embeddings"
        assert headers["Authorization"] == "Bearer secret-key"


def test_another_model_is_refused_and_named(vkb, store, tmp_path, endpoint):
    (tmp_path / "vkb.yaml").write_text(f"embedding: {{ url: {endpoint.url}, model: other }}\n")
    done = vkb("query", "--text", "aaa", "--path", store, check=False)
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)
    assert "'tiny'" in done.stderr and "'other'" in done.stderr
    assert vkb("query", "--text", "aaa", "--path", store, "--model", "tiny").returncode == 0
    assert vkb("query", "--text", "aaa", "--path", store, "--any-model").returncode == 0


@pytest.mark.parametrize("model", ["other", "tiny", None])
def test_a_collection_that_another_process_makes_meanwhile_keeps_its_model(
    vkb, store_dir, tmp_path, endpoint, model
):
    (tmp_path / "vkb.yaml").write_text(
        f"vector_store: {{ path: {store_dir}, collection: notes }}\n"
        f"embedding: {{ url: {endpoint.url}, model: tiny }}\n"
    )
    theirs = lines([{"id": "theirs", "embedding": [1, 2, 3]}])
    of_model = ["--model", model] if model else []
    endpoint.meanwhile = lambda: vkb("add", "--jsonl", "-", *of_model, input=theirs)
    done = vkb("add", "--jsonl", "-", input=lines(DOCUMENTS), check=False)
    is_other = model == "other"
    assert done.returncode == (1 if is_other else 0)
    if is_other:
        assert is_one_error_line(done.stderr)
        assert "'tiny'" in done.stderr and "'other'" in done.stderr
        assert "nothing was stored" in done.stderr
    assert vkb("count").stdout == ("1\n" if is_other else "4\n")
    assert json.loads(vkb("info", "--json").stdout)["model"] == ("other" if is_other else "tiny")


def test_another_dimension_is_refused_and_named(vkb, store_dir, endpoint):
    vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes",
        input=lines([{"id": "a", "embedding": [1, 2]}]))  # fmt: skip
    done = vkb("query", "--text", "x", "--path", store_dir, "--embed-url", endpoint.url, check=False)
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)
    assert "3 dimensions" in done.stderr and "holds 2" in done.stderr


def test_a_missing_model_and_a_missing_endpoint_say_what_to_do(vkb, store, endpoint):
    done = vkb("query", "--text", "x", "--path", store, "--embed-url", endpoint.url, "--any-model",
               "--model", "missing", check=False)  # fmt: skip
    assert done.returncode == 1
    assert "ollama pull missing" in done.stderr
    nobody = "http://127.0.0.1:9"
    done = vkb("query", "--text", "x", "--path", store, "--embed-url", nobody, check=False)
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)
    assert nobody in done.stderr and "ollama serve" in done.stderr and "--embed-url" in done.stderr


def test_an_add_whose_endpoint_fails_says_what_is_stored(vkb, store_dir):
    text = lines({"id": f"n{i}", "embedding": [i, 0, 1]} for i in range(1000))
    done = vkb("add", "--jsonl", "-", "--path", store_dir, "--collection", "notes", "--embed-url",
               "http://127.0.0.1:9", check=False,
               input=text + lines(DOCUMENTS))  # fmt: skip
    assert done.returncode == 1
    assert is_one_error_line(done.stderr)
    assert "the 1,000 records of lines 1 to 1000 are stored" in done.stderr
    assert vkb("count", "--path", store_dir).stdout == "1000\n"


def test_with_the_real_model(vkb, store_dir, tmp_path, embed_endpoint):
    (tmp_path / "vkb.yaml").write_text(
        f"vector_store: {{ path: {store_dir}, collection: notes }}\n"
        f"embedding: {{ url: {embed_endpoint}, model: all-minilm }}\n"
    )
    texts = {
        "cats": "Cats sleep for most of the day.",
        "rust": "Iron rusts when it meets water and air.",
        "bread": "Knead the dough, let it rise, and bake it.",
    }
    vkb("add", "--jsonl", "-", input=lines({"id": k, "document": v} for k, v in texts.items()))
    for question, expected in (
        ("how do I make a loaf?", "bread"),
        ("why does metal corrode?", "rust"),
        ("what do kittens do all day?", "cats"),
    ):
        found = json.loads(vkb("query", "--text", question, "-k", 1, "--json").stdout)
        assert found["ids"] == [[expected]]
