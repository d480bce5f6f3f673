# SPDX-License-Identifier: Apache-2.0
"""The embedding endpoint: both protocols, a model that knows what is alike, and clear refusals."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest


def post(address: str, path: str, body: object) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, data), timeout=60
        ) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_ollama_embeds_one_text_or_many_alike(embed_endpoint):
    texts = ["a cat sits on the mat", "Grüße aus 東京", ""]
    status, many = post(embed_endpoint, "/api/embed", {"model": "all-minilm", "input": texts})
    assert status == 200
    vectors = np.array(many["embeddings"])
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    _, one = post(embed_endpoint, "/api/embed", {"model": "all-minilm:latest", "input": texts[0]})
    assert one["embeddings"][0] == many["embeddings"][0]


def test_openai_gives_the_same_vectors(embed_endpoint):
    request = {"model": "all-minilm", "input": ["durability", "recall"]}
    _, ollama = post(embed_endpoint, "/api/embed", request)
    status, openai = post(embed_endpoint, "/v1/embeddings", request)
    assert status == 200
    assert [row["embedding"] for row in openai["data"]] == ollama["embeddings"]
    assert [row["index"] for row in openai["data"]] == [0, 1]


def test_the_model_puts_like_things_together(embed_endpoint):
    texts = ["the disk is full", "no space left on device", "a recipe for apple pie"]
    _, reply = post(embed_endpoint, "/api/embed", {"model": "all-minilm", "input": texts})
    full, space, pie = np.array(reply["embeddings"])
    assert full @ space > full @ pie + 0.2


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            "/api/embed",
            {"model": "other", "input": "x"},
            404,
            'model "other" not found, try pulling it first',
        ),
        (
            "/v1/embeddings",
            {"model": "other", "input": "x"},
            404,
            'model "other" not found, try pulling it first',
        ),
        ("/api/embed", b"no JSON", 400, "expected"),
        ("/api/embed", {"model": "all-minilm", "input": [1]}, 400, "neither a text nor a list"),
        ("/api/embed", {"model": "all-minilm"}, 400, "input"),
        ("/api/none", {}, 404, "no such path"),
    ],
)
def test_refusals_say_why(embed_endpoint, path, body, status, message):
    found_status, reply = post(embed_endpoint, path, body)
    assert found_status == status
    error = reply["error"]
    assert message in (error["message"] if isinstance(error, dict) else error)


def test_tags_names_the_model(embed_endpoint):
    with urllib.request.urlopen(embed_endpoint + "/api/tags", timeout=60) as reply:
        assert [model["name"] for model in json.load(reply)["models"]] == ["all-minilm:latest"]
