# SPDX-License-Identifier: Apache-2.0
"""What makes vectors of texts and images: given, stored with the collection, rebuilt, missing."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.utils import embedding_functions as of_chromadb

import vkb
from vkb import embedding_functions
from vkb.embedding_functions import OllamaEmbeddingFunction, register_embedding_function


def letters(text: str, dim: int) -> list[float]:
    return [float(text.count(chr(ord("a") + n))) for n in range(dim)]


class Letters(vkb.EmbeddingFunction):
    """How often each letter is there."""

    def __init__(self, dim: int = 4):
        self.dim = dim

    def __call__(self, input: Any) -> Any:
        return [letters(text, self.dim) for text in input]

    def embed_query(self, input: Any) -> Any:
        return [letters(text.lower(), self.dim) for text in input]

    @staticmethod
    def name() -> str:
        return "vkb_test_letters"

    def get_config(self) -> dict[str, Any]:
        return {"dim": self.dim}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Letters:
        return Letters(config["dim"])

    def default_space(self) -> Any:
        return "ip"


class LettersOfChromadb(chromadb.EmbeddingFunction):
    """One that derives from chromadb's base class."""

    def __init__(self) -> None:
        pass

    def __call__(self, input: Any) -> Any:
        return [np.array(letters(text, 4)) for text in input]

    @staticmethod
    def name() -> str:
        return "vkb_test_letters_of_chromadb"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> LettersOfChromadb:
        return LettersOfChromadb()


class Nameless:
    """Nothing but the call."""

    def __call__(self, input: Any) -> Any:
        return np.array([letters(text, 4) for text in input])


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (embedding_functions.URL_VARIABLE, embedding_functions.MODEL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    known = dict(embedding_functions.known_embedding_functions)
    monkeypatch.setattr(embedding_functions, "known_embedding_functions", known)


@pytest.mark.parametrize("function", [Letters(), LettersOfChromadb(), Nameless()], ids=repr)
def test_texts_become_vectors(client: Any, function: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that Nameless cannot be stored
        notes = client.create_collection("notes", embedding_function=function)
    notes.add(ids=["a", "b"], documents=["aaa", "bbb"])
    notes.upsert(ids=["c"], documents=["ccc"])
    notes.update(ids=["a"], documents=["aaaa"])
    got = notes.get(include=["embeddings", "documents"])
    np.testing.assert_array_equal(got["embeddings"], np.diag([4, 3, 3, 0])[:3])
    assert got["documents"] == ["aaaa", "bbb", "ccc"]
    assert notes.query(query_texts=["b"], n_results=1)["ids"] == [["b"]]
    assert notes.search(vkb.Search().rank(vkb.Knn("b", limit=1))).rows()[0][0]["id"] == "b"


def test_a_query_may_be_embedded_in_another_way(client: Any):
    notes = client.create_collection("notes", embedding_function=Letters())
    notes.add(ids=["a", "b"], documents=["a", "b"])
    notes.add(ids=["A"], documents=["A"])
    assert notes.get(ids=["A"], include=["embeddings"])["embeddings"].tolist() == [[0, 0, 0, 0]]
    assert notes.query(query_texts="A", n_results=1)["ids"] == [["a"]]


def test_it_is_stored_with_the_collection_as_chroma_does(client: Any, tmp_path: pathlib.Path):
    ours = client.create_collection("ours", embedding_function=Letters(3))
    stored = {"name": "vkb_test_letters", "type": "known", "config": {"dim": 3}}
    assert ours.configuration_json["embedding_function"] == stored
    assert ours.configuration_json["hnsw"]["space"] == "ip"  # what the function prefers
    chroma = chromadb.PersistentClient(str(tmp_path / "chroma"))
    for name, configuration in (
        ("none", None),
        ("space", {"hnsw": {"space": "cosine"}}),
        ("other", {"hnsw": {"ef_search": 77}}),
        ("spann", {"spann": {}}),
    ):
        for function in (LettersOfChromadb(), None):
            for client_ in (chroma, client):
                client_.get_or_create_collection("x" + name)
                client_.delete_collection("x" + name)
            theirs, mine = (
                each.create_collection(
                    name + str(function is None),
                    configuration=None if configuration is None else dict(configuration),
                    embedding_function=function,
                )
                for each in (chroma, client)
            )
            assert mine.configuration_json == theirs.configuration_json
    theirs, mine = (each.create_collection("default") for each in (chroma, client))
    assert mine.configuration_json == theirs.configuration_json


def test_it_is_there_again_when_the_collection_is_opened(client: Any):
    made = client.create_collection("notes", embedding_function=Letters(3))
    made.add(ids=["b"], documents=["b"])
    again = client.get_collection("notes")
    again.add(ids=["c"], documents=["c"])
    np.testing.assert_array_equal(
        again.get(include=["embeddings"])["embeddings"], [[0, 1, 0], [0, 0, 1]]
    )
    assert isinstance(again.configuration["embedding_function"], Letters)
    listed = client.list_collections()[0]
    assert listed.query(query_texts=["c"], n_results=1)["ids"] == [["c"]]


def test_chromadbs_registry_is_asked_too(client: Any):
    class OnlyThere(LettersOfChromadb):
        @staticmethod
        def name() -> str:
            return "vkb_test_only_there"

    of_chromadb.register_embedding_function(OnlyThere)
    configuration = {"embedding_function": OnlyThere()}
    client.create_collection("notes", configuration=configuration, embedding_function=None)
    del embedding_functions.known_embedding_functions["vkb_test_only_there"]
    client.get_collection("notes").add(ids=["b"], documents=["b"])


def test_one_that_nobody_knows(client: Any):
    client.create_collection("notes", embedding_function=Letters(3))
    del embedding_functions.known_embedding_functions["vkb_test_letters"]
    notes = client.get_collection("notes")  # opening it is fine: embeddings may be given
    notes.add(ids=["a"], embeddings=[[1, 2, 3]])
    with pytest.raises(ValueError, match="vkb_test_letters not found. Add @register"):
        notes.add(ids=["b"], documents=["b"])
    register_embedding_function(Letters)
    notes.add(ids=["b"], documents=["b"])


def test_conflicts(client: Any):
    client.create_collection("notes", embedding_function=Letters())
    conflict = "Embedding function conflict: new: vkb_test_letters_of_chromadb vs persisted"
    for opening in (client.get_collection, client.get_or_create_collection):
        with pytest.raises(ValueError, match=conflict):
            opening("notes", embedding_function=LettersOfChromadb())
    with pytest.raises(ValueError, match="Multiple embedding functions provided"):
        client.create_collection(
            "more",
            embedding_function=Letters(),
            configuration={"embedding_function": LettersOfChromadb()},
        )
    notes = client.get_collection("notes")
    with pytest.raises(ValueError, match="Cannot update embedding function"):
        notes.modify(configuration={"embedding_function": LettersOfChromadb()})
    notes.modify(configuration={"embedding_function": Letters(7)})
    notes.add(ids=["a"], documents=["a"])
    assert notes.peek()["embeddings"].shape == (1, 7)


def test_what_is_no_embedding_function(client: Any):
    def plain(texts: Any) -> Any:
        return [[1.0]] * len(texts)

    class Misnamed:
        def __call__(self, texts: Any) -> Any:
            return plain(texts)

    class Short(Letters):
        def __call__(self, input: Any) -> Any:
            return [[1.0]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for bad in (plain, Misnamed()):
            with pytest.raises(ValueError, match=r"signature: .*\['self', 'input'\]"):
                client.get_or_create_collection("notes", embedding_function=bad)
    short = client.create_collection("short", embedding_function=Short())
    with pytest.raises(ValueError, match="made 1 embeddings of 2 documents"):
        short.add(ids=["a", "b"], documents=["a", "b"])
    assert short.count() == 0


def test_without_any_the_error_says_what_to_do(client: Any):
    notes = client.create_collection("notes")
    for call in (
        lambda: notes.add(ids=["a"], documents=["a"]),
        lambda: notes.query(query_texts=["a"]),
        lambda: client.get_collection("notes").upsert(ids=["a"], documents=["a"]),
    ):
        with pytest.raises(ValueError, match="pass one to create_collection.*VKB_EMBEDDING_MODEL"):
            call()
    none = client.create_collection("none", embedding_function=None)
    with pytest.raises(ValueError, match="You must provide an embedding function"):
        none.add(ids=["a"], documents=["a"])


def test_ollama_when_it_is_configured(
    client: Any, embed_endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    """Against a real model behind Ollama's interface."""
    monkeypatch.setenv("VKB_OLLAMA_URL", embed_endpoint)
    monkeypatch.setenv("VKB_EMBEDDING_MODEL", "all-minilm")
    notes = client.create_collection("notes")
    kept = {"url": embed_endpoint, "model_name": "all-minilm", "timeout": 60}
    described = {"type": "known", "name": "ollama", "config": kept}
    assert notes.configuration_json["embedding_function"] == described
    assert notes.configuration_json["hnsw"]["space"] == "cosine"
    texts = ["a cat sleeps in the sun", "stock prices fell again", "the kitten is tired"]
    notes.add(ids=["cat", "stocks", "kitten"], documents=texts)
    assert notes.peek()["embeddings"].shape == (3, 384)
    monkeypatch.delenv("VKB_OLLAMA_URL")
    monkeypatch.delenv("VKB_EMBEDDING_MODEL")
    again = client.get_collection("notes")  # it is stored with the collection
    assert again.query(query_texts=["sleepy feline"], n_results=2)["ids"][0] != ["stocks"]
    assert "stocks" not in again.query(query_texts=["sleepy feline"], n_results=2)["ids"][0]
    many = [f"text number {n}" for n in range(5)]
    by_two = OllamaEmbeddingFunction(embed_endpoint, "all-minilm", batch_size=2)(many)
    at_once = OllamaEmbeddingFunction(embed_endpoint + "/api/embed", "all-minilm")(many)
    np.testing.assert_allclose(by_two, at_once, atol=1e-5)


def test_ollama_that_does_not_answer():
    with pytest.raises(ConnectionError, match="is Ollama running there"):
        OllamaEmbeddingFunction("http://127.0.0.1:9", "all-minilm")(["text"])


def test_images(client: Any):
    class Brightness(vkb.EmbeddingFunction):
        def __call__(self, input: Any) -> Any:
            return [[each.mean(), each.std()] for each in input]

    pictures = client.create_collection("pictures", embedding_function=Brightness())
    dark, light = np.zeros((4, 4, 3)), np.full((4, 4, 3), 255)
    pictures.add(ids=["dark", "light"], images=[dark, light])
    assert pictures.query(query_images=[light - 5], n_results=1)["ids"] == [["light"]]
    with pytest.raises(ValueError, match="Expected image to be a numpy array"):
        pictures.add(ids=["x"], images=["not an image"])
    with pytest.raises(ValueError, match="Exactly one of"):
        pictures.add(ids=["x"], images=[dark], documents=["dark"])
