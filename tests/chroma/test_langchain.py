# SPDX-License-Identifier: Apache-2.0
"""langchain_chroma.Chroma on each backend."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from support.chroma_clients import (
    SYNCHRONOUS,
    Backend,
    embedded_backend,
    hash_vectors,
    native_backend,
    open_backend,
)

TEXTS = {
    "dog": "the dog barks at the moon",
    "wolf": "the wolf howls at the moon",
    "bird": "a bird sings in the tree",
    "fish": "fish swim in the deep sea",
}
LEGS = {"dog": 4, "wolf": 4, "bird": 2, "fish": 0}


class HashModel(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in hash_vectors(texts, 128)]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def documents() -> list[Document]:
    metadata = {name: {"legs": LEGS[name], "kinds": ["animal", name]} for name in TEXTS}
    return [Document(text, id=name, metadata=metadata[name]) for name, text in TEXTS.items()]


def store_of(client: Any, **options: Any) -> Chroma:
    return Chroma(
        client=client, collection_name="animals", embedding_function=HashModel(),
        collection_configuration={"hnsw": {"space": "cosine"}}, **options,
    )  # fmt: skip


@pytest.fixture(scope="session", params=SYNCHRONOUS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """langchain_chroma takes synchronous clients only."""
    return open_backend(request, tmp_path_factory.mktemp("langchain"))


@pytest.fixture
def store(client: Any) -> Chroma:
    made = store_of(client)
    assert made.add_documents(documents()) == list(TEXTS)
    return made


def ids(found: list[Document]) -> list[str | None]:
    return [document.id for document in found]


def test_similarity_search(store: Chroma):
    found = store.similarity_search("a dog barks", k=2)
    assert found[0] == documents()[0]
    assert len(found) == 2
    assert ids(store.similarity_search("moon", k=4, filter={"legs": 2})) == ["bird"]
    both = {"$and": [{"legs": {"$gt": 0}}, {"kinds": {"$contains": "wolf"}}]}
    assert ids(store.similarity_search("sea", k=4, filter=both)) == ["wolf"]
    text = {"$contains": "moon"}
    assert set(ids(store.similarity_search("sea", where_document=text))) == {"dog", "wolf"}
    vector = HashModel().embed_query(TEXTS["fish"])
    assert ids(store.similarity_search_by_vector(vector, k=1)) == ["fish"]


def test_scores(store: Chroma):
    found = store.similarity_search_with_score(TEXTS["bird"], k=4)
    assert found[0][0].id == "bird"
    assert found[0][1] == pytest.approx(0, abs=1e-5)
    assert [score for _, score in found] == sorted(score for _, score in found)
    relevant = store.similarity_search_with_relevance_scores(TEXTS["bird"], k=4)
    assert relevant[0][1] == pytest.approx(1, abs=1e-5)
    for (_, distance), (_, relevance) in zip(found, relevant):
        assert relevance == pytest.approx(1 - distance, abs=1e-5)
    above = store.similarity_search_with_relevance_scores(TEXTS["bird"], score_threshold=0.99)
    assert [document.id for document, _ in above] == ["bird"]
    with_vectors = store.similarity_search_with_vectors(TEXTS["dog"], k=1)
    assert with_vectors[0][1] == pytest.approx(HashModel().embed_query(TEXTS["dog"]), abs=1e-6)


def test_mmr_and_retriever(store: Chroma):
    diverse = store.max_marginal_relevance_search("moon dog wolf", k=2, fetch_k=4, lambda_mult=0.1)
    assert len(diverse) == 2
    assert not set(ids(diverse)) == {"dog", "wolf"}
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 3})
    assert len(retriever.invoke("moon")) == 3
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"legs": 0}})
    assert ids(retriever.invoke("moon")) == ["fish"]


def test_getting_updating_and_deleting(store: Chroma):
    assert set(ids(store.get_by_ids(["bird", "nope", "dog"]))) == {"dog", "bird"}
    got = store.get(where={"legs": 4}, limit=1)
    assert got["ids"] == ["dog"]
    assert store.get(include=["documents"])["documents"] == list(TEXTS.values())
    store.update_document("dog", Document("a cat sleeps", metadata={"legs": 4}))
    assert ids(store.similarity_search("cat sleeps", k=1)) == ["dog"]
    store.update_documents(["fish"], [Document("a whale sings", metadata={"legs": 0})])
    assert store.get_by_ids(["fish"])[0].page_content == "a whale sings"
    store.delete(["dog", "wolf"])
    assert store.get()["ids"] == ["bird", "fish"]
    store.reset_collection()
    assert store.get()["ids"] == []
    store.delete_collection()


def test_texts_that_are_added_twice_are_replaced(store: Chroma):
    store.add_texts(["the dog is gone"], metadatas=[{"legs": 3}], ids=["dog"])
    assert len(store.get()["ids"]) == 4
    assert store.get_by_ids(["dog"])[0].page_content == "the dog is gone"


def test_more_texts_than_a_request_may_hold(client: Any):
    made = Chroma.from_texts(
        [f"text number {n}" for n in range(6000)], HashModel(), client=client,
        collection_name="many", ids=[str(n) for n in range(6000)],
    )  # fmt: skip
    assert len(made.get(include=[])["ids"]) == 6000


@pytest.mark.parametrize("make", [embedded_backend, native_backend], ids=["embedded", "native"])
def test_a_store_persists(make: Any, tmp_path: pathlib.Path):
    first = make(tmp_path / "store").connect()
    store_of(first).add_documents(documents())
    first.close()
    again = store_of(make(tmp_path / "store").connect())
    assert again.similarity_search(TEXTS["wolf"], k=1)[0] == documents()[1]
