# SPDX-License-Identifier: Apache-2.0
"""LlamaIndex's ChromaVectorStore on each backend, and an index that LlamaIndex built in Redis,
imported: the same retriever finds the same nodes."""

from __future__ import annotations

import math
import pathlib
import warnings
from typing import Any

import pytest
import redis.asyncio
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.chroma import ChromaVectorStore

from support.chroma_clients import (
    SYNCHRONOUS,
    Backend,
    embedded_backend,
    hash_vectors,
    native_backend,
    open_backend,
)

DIM = 64
TOPICS = ["storms", "rivers", "birds", "trains"]
WORDS = (
    "wind rain flood bank nest egg wing rail steam engine bridge cloud night day red blue".split()
)


class HashModel(BaseEmbedding):
    """A deterministic model: equal words bring texts near each other."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return hash_vectors([text], DIM)[0].tolist()

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


MODEL = HashModel()


def text_of(number: int) -> str:
    words = [WORDS[(number * step + step) % len(WORDS)] for step in (1, 3, 5, 7)]
    return f"{TOPICS[number % 4]} {' '.join(words)} nr{number}"


def nodes(count: int = 60) -> list[TextNode]:
    """Nodes of a few documents, each with its neighbours and its document as relationships."""
    made = []
    for number in range(count):
        document = f"document-{number // 10}"
        relationships = {
            NodeRelationship.SOURCE: RelatedNodeInfo(
                node_id=document, metadata={"file_name": f"{document}.txt"}, hash=f"hash-{document}"
            )
        }
        if number % 10:
            relationships[NodeRelationship.PREVIOUS] = RelatedNodeInfo(node_id=f"node-{number - 1}")
        if number % 10 < 9:
            relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id=f"node-{number + 1}")
        metadata = {"topic": TOPICS[number % 4], "year": 2000 + number, "weight": number / 4}
        made.append(
            TextNode(
                id_=f"node-{number}",
                text=text_of(number),
                metadata={**metadata, "file_name": f"{document}.txt"},
                relationships=relationships,
                excluded_embed_metadata_keys=["year", "weight", "file_name", "topic"],
                excluded_llm_metadata_keys=["file_name"],
                start_char_idx=number,
                end_char_idx=number + 10,
            )
        )
    return made


def index_over(store: Any, with_nodes: list[TextNode] | None = None) -> VectorStoreIndex:
    # The nodes are ready: they need embedding, and no splitting.
    ready = {"embed_model": MODEL, "transformations": [MODEL]}
    if with_nodes is None:
        return VectorStoreIndex.from_vector_store(store, **ready)
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(with_nodes, storage_context=context, **ready)


@pytest.fixture(scope="session", params=SYNCHRONOUS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """ChromaVectorStore takes synchronous clients only."""
    return open_backend(request, tmp_path_factory.mktemp("llama"))


@pytest.fixture
def collection(client: Any) -> Any:
    return client.create_collection(
        "llama", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )


@pytest.fixture
def store(collection: Any) -> ChromaVectorStore:
    return ChromaVectorStore(chroma_collection=collection)


@pytest.fixture
def index(store: ChromaVectorStore) -> VectorStoreIndex:
    return index_over(store, nodes())


def ids(hits: list[NodeWithScore]) -> list[str]:
    return [hit.node.node_id for hit in hits]


def as_dict(node: Any) -> dict[str, Any]:
    """All that LlamaIndex knows of a node but its vector."""
    return {key: value for key, value in node.dict().items() if key != "embedding"}


def test_a_node_comes_back_as_it_was(index: VectorStoreIndex):
    original = nodes()[7]
    hit = index.as_retriever(similarity_top_k=1).retrieve(text_of(7))[0]
    assert as_dict(hit.node) == as_dict(original)
    assert hit.node.ref_doc_id == "document-0"
    assert hit.node.prev_node.node_id == "node-6"
    assert hit.score == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("operator", "value", "accepts"),
    [
        (FilterOperator.EQ, 2007, lambda n: n == 7),
        (FilterOperator.NE, 2007, lambda n: n != 7),
        (FilterOperator.GT, 2050, lambda n: n > 50),
        (FilterOperator.GTE, 2050, lambda n: n >= 50),
        (FilterOperator.LT, 2003, lambda n: n < 3),
        (FilterOperator.LTE, 2003, lambda n: n <= 3),
        (FilterOperator.IN, [2001, 2002, 1], lambda n: n in (1, 2)),
        (FilterOperator.NIN, [2001, 2002], lambda n: n not in (1, 2)),
    ],
    ids=lambda value: value.value if isinstance(value, FilterOperator) else "",
)
def test_metadata_filters(index: VectorStoreIndex, operator: Any, value: Any, accepts: Any):
    filters = MetadataFilters(filters=[MetadataFilter(key="year", value=value, operator=operator)])
    hits = index.as_retriever(similarity_top_k=60, filters=filters).retrieve("wind and rain")
    assert sorted(ids(hits)) == sorted(f"node-{n}" for n in range(60) if accepts(n))


def test_filters_combined(index: VectorStoreIndex):
    storms = MetadataFilter(key="topic", value="storms")
    late = MetadataFilter(key="year", value=2040, operator=FilterOperator.GTE)
    for condition, accepts in (
        (FilterCondition.AND, lambda n: n % 4 == 0 and n >= 40),
        (FilterCondition.OR, lambda n: n % 4 == 0 or n >= 40),
    ):
        filters = MetadataFilters(filters=[storms, late], condition=condition)
        hits = index.as_retriever(similarity_top_k=60, filters=filters).retrieve("x")
        assert sorted(ids(hits)) == sorted(f"node-{n}" for n in range(60) if accepts(n))
    nested = MetadataFilters(
        filters=[
            MetadataFilters(filters=[storms, late], condition=FilterCondition.AND),
            MetadataFilter(key="weight", value=1.25),
        ],
        condition=FilterCondition.OR,
    )
    hits = index.as_retriever(similarity_top_k=60, filters=nested).retrieve("x")
    assert sorted(ids(hits)) == sorted(
        f"node-{n}" for n in range(60) if n % 4 == 0 and n >= 40 or n == 5
    )


def test_mmr_finds_diverse_nodes(index: VectorStoreIndex):
    plain = index.as_retriever(similarity_top_k=8).retrieve("storms wind rain")
    diverse = index.as_retriever(
        similarity_top_k=8, vector_store_query_mode="mmr",
        vector_store_kwargs={"mmr_threshold": 0.2},
    ).retrieve("storms wind rain")  # fmt: skip
    assert ids(diverse)[0] == ids(plain)[0]
    assert len(set(ids(diverse))) == 8
    assert set(ids(diverse)) != set(ids(plain))


def test_deleting_a_document_and_nodes(index: VectorStoreIndex, store: Any, collection: Any):
    index.delete_ref_doc("document-2")
    assert collection.count() == 50
    left = index.as_retriever(similarity_top_k=60).retrieve("x")
    assert not {hit.node.node_id for hit in left} & {f"node-{n}" for n in range(20, 30)}
    store.delete_nodes(["node-1", "node-2"])
    assert collection.count() == 48
    only = MetadataFilters(filters=[MetadataFilter(key="topic", value="storms")])
    store.delete_nodes(["node-4", "node-5"], filters=only)
    assert collection.get(ids=["node-4", "node-5"])["ids"] == ["node-5"]


def test_getting_nodes_without_a_query(index: VectorStoreIndex, store: Any):
    got = store.get_nodes(node_ids=["node-3", "node-4", "nope"])
    assert [as_dict(node) for node in got] == [as_dict(node) for node in nodes()[3:5]]
    birds = MetadataFilters(filters=[MetadataFilter(key="topic", value="birds")])
    assert {n.metadata["topic"] for n in store.get_nodes(node_ids=None, filters=birds)} == {"birds"}


def test_adding_more_and_clearing(index: VectorStoreIndex, store: Any, collection: Any):
    index.insert_nodes([TextNode(id_="new", text="a whole new subject")])
    assert ids(index.as_retriever(similarity_top_k=1).retrieve("whole new subject")) == ["new"]
    store.clear()
    assert collection.count() == 0


@pytest.mark.parametrize("make", [embedded_backend, native_backend], ids=["embedded", "native"])
def test_an_index_persists(make: Any, tmp_path: pathlib.Path):
    first = make(tmp_path / "store").connect()
    made = first.create_collection("llama", embedding_function=None)
    index_over(ChromaVectorStore(chroma_collection=made), nodes())
    first.close()
    again = make(tmp_path / "store").connect().get_collection("llama", embedding_function=None)
    index = index_over(ChromaVectorStore(chroma_collection=again))
    hit = index.as_retriever(similarity_top_k=1).retrieve(text_of(33))[0]
    assert as_dict(hit.node) == as_dict(nodes()[33])


def redis_index(server: Any) -> Any:
    """What LlamaIndex's own RedisVectorStore makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from llama_index.vector_stores.redis import RedisVectorStore
        from redisvl.schema import IndexSchema

    # FLAT is exact, so that there is one right answer.
    vector = {"dims": DIM, "algorithm": "flat", "distance_metric": "cosine"}
    fields = [
        {"name": "id", "type": "tag"},
        {"name": "doc_id", "type": "tag"},
        {"name": "text", "type": "text"},
        {"name": "vector", "type": "vector", "attrs": vector},
        {"name": "topic", "type": "tag"},
        {"name": "year", "type": "numeric"},
    ]
    name = {"name": "llama_index", "prefix": "llama_index/vector"}
    store = RedisVectorStore(
        schema=IndexSchema.from_dict({"index": name, "fields": fields}),
        redis_client=server.client(),
        redis_client_async=redis.asyncio.Redis(port=server.port, protocol=2),
    )
    return index_over(store, nodes(200))


def test_an_index_built_in_redis_answers_as_before(
    redis_stack: Any, vkb: Any, tmp_path: pathlib.Path
):
    questions = [text_of(n) for n in (3, 50, 199)] + ["wind over the bridge", "red birds at night"]
    retriever = redis_index(redis_stack).as_retriever(similarity_top_k=10)
    before = [retriever.retrieve(question) for question in questions]

    path = tmp_path / "store"
    vkb("import-redis", redis_stack.url, "--path", path, "--collection", "nodes", "--quiet")
    collection = native_backend(path).connect().get_collection("nodes", embedding_function=None)
    assert collection.count() == 200
    index = index_over(ChromaVectorStore(chroma_collection=collection))
    retriever = index.as_retriever(similarity_top_k=10)
    for question, old in zip(questions, before):
        new = {hit.node.node_id: hit for hit in retriever.retrieve(question)}
        assert len(new) == len(old) == 10
        # RedisVectorStore's score is 1 - distance, ChromaVectorStore's exp(-distance).
        similarities = [1 + math.log(hit.score) for hit in new.values()]
        assert similarities == pytest.approx([hit.score for hit in old], abs=1e-4)
        for hit in old:
            if hit.node.node_id not in new:  # another one, as near as this, has the last place
                assert hit.score == pytest.approx(similarities[-1], abs=1e-4)
                continue
            node = new[hit.node.node_id].node
            assert as_dict(node) == as_dict(hit.node)
            assert node.ref_doc_id == hit.node.ref_doc_id

    filters = MetadataFilters(filters=[MetadataFilter(key="topic", value="birds")])
    hits = index.as_retriever(similarity_top_k=50, filters=filters).retrieve("wing")
    assert {hit.node.metadata["topic"] for hit in hits} == {"birds"}
    index.delete_ref_doc("document-3")
    assert collection.count() == 190
    query = VectorStoreQuery(query_embedding=MODEL.get_text_embedding(text_of(35)))
    found = ChromaVectorStore(chroma_collection=collection).query(query)
    assert "node-35" not in found.ids
