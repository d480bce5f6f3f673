# SPDX-License-Identifier: Apache-2.0
"""LangChain over a vkb collection, in this process or behind `vkb serve`:

    python docs/examples/with_langchain.py --path kb
    python docs/examples/with_langchain.py --host localhost --port 8000

Needs langchain-chroma and, for --path, vkb (`pip install ./python`).
"""

import argparse
import hashlib
import re
from typing import Any, List

import chromadb
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings


class WordEmbedding(Embeddings):
    """Stands for a real model, which the example does without: equal words make texts near."""

    def embed_query(self, text: str) -> List[float]:
        vector = [0.001] * 256
        for word in re.findall(r"\w+", text.lower()):
            vector[hashlib.sha256(word.encode()).digest()[0]] += 1.0
        return vector

    def embed_documents(self, texts: List[str]) -> List[List[float]]:
        return [self.embed_query(text) for text in texts]


def open_client(arguments: argparse.Namespace) -> Any:
    """The only lines that say where the collection is."""
    if arguments.path:
        import vkb

        return vkb.PersistentClient(arguments.path)
    return chromadb.HttpClient(host=arguments.host, port=arguments.port)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", help="directory of a store; without it, a server is asked")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()

    store = Chroma(
        client=open_client(arguments),
        collection_name="animals_langchain",
        embedding_function=WordEmbedding(),
        collection_configuration={"hnsw": {"space": "cosine"}},
    )
    store.add_documents(
        [
            Document("The dog barks at the moon.", metadata={"legs": 4}),
            Document("The bird sings in the tree.", metadata={"legs": 2}),
            Document("A fish swims in the sea.", metadata={"legs": 0}),
        ],
        ids=["dog", "bird", "fish"],
    )

    for document, score in store.similarity_search_with_relevance_scores("Which bird sings?", k=2):
        print(f"{score:.3f} {document.id}: {document.page_content}")

    for document in store.similarity_search("Who swims in the sea?", filter={"legs": {"$gt": 2}}):
        print(f"with many legs: {document.page_content}")

    diverse = store.max_marginal_relevance_search("the bird in the tree", k=3)
    print("diverse:", [document.id for document in diverse])

    retriever = store.as_retriever(search_kwargs={"k": 1})
    print("retrieved:", retriever.invoke("a fish in the sea")[0].page_content)

    store.delete(["dog"])
    print("left:", [document.id for document in store.get_by_ids(["dog", "bird", "fish"])])


if __name__ == "__main__":
    main()
