# SPDX-License-Identifier: Apache-2.0
"""LlamaIndex over a vkb collection, in this process or behind `vkb serve`:

    python docs/examples/with_llama_index.py --path kb
    python docs/examples/with_llama_index.py --host localhost --port 8000

Needs llama-index-core, llama-index-vector-stores-chroma and, for --path, vkb
(`pip install ./python`).
"""

import argparse
import hashlib
import re
from typing import Any, List

import chromadb
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.vector_stores.chroma import ChromaVectorStore


class WordEmbedding(BaseEmbedding):
    """Stands for a real model, which the example does without: equal words make texts near."""

    def _get_text_embedding(self, text: str) -> List[float]:
        vector = [0.001] * 256
        for word in re.findall(r"\w+", text.lower()):
            vector[hashlib.sha256(word.encode()).digest()[0]] += 1.0
        return vector

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> List[float]:
        return self._get_text_embedding(query)


def open_collection(arguments: argparse.Namespace) -> Any:
    """The only lines that say where the collection is."""
    if arguments.path:
        import vkb

        client = vkb.PersistentClient(arguments.path)
    else:
        client = chromadb.HttpClient(host=arguments.host, port=arguments.port)
    cosine = {"hnsw": {"space": "cosine"}}
    return client.get_or_create_collection("animals", configuration=cosine)


def node(number: int, document: str, text: str, legs: int) -> TextNode:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(id_=f"n{number}", text=text, metadata={"legs": legs}, relationships=source)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", help="directory of a store; without it, a server is asked")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()

    store = ChromaVectorStore(chroma_collection=open_collection(arguments))
    model = WordEmbedding()
    nodes = [
        node(1, "book", "The dog barks at the moon.", legs=4),
        node(2, "book", "The bird sings in the tree.", legs=2),
        node(3, "film", "A fish swims in the sea.", legs=0),
    ]
    index = VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=model,
        transformations=[model],  # the nodes are ready: they need embedding, and no splitting
    )

    for hit in index.as_retriever(similarity_top_k=2).retrieve("Which bird sings?"):
        print(f"{hit.score:.3f} {hit.node.node_id} of {hit.node.ref_doc_id}: {hit.node.text}")

    four_legs = MetadataFilters(filters=[MetadataFilter(key="legs", value=4)])
    for hit in index.as_retriever(filters=four_legs).retrieve("Who swims in the sea?"):
        print(f"with four legs: {hit.node.text}")

    diverse = index.as_retriever(vector_store_query_mode="mmr", similarity_top_k=3)
    print("diverse:", [hit.node.node_id for hit in diverse.retrieve("the bird in the tree")])

    index.delete_ref_doc("book")
    left = VectorStoreIndex.from_vector_store(store, embed_model=model, transformations=[model])
    print("left:", [hit.node.node_id for hit in left.as_retriever().retrieve("dog or fish")])


if __name__ == "__main__":
    main()
