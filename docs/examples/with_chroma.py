# SPDX-License-Identifier: Apache-2.0
"""Chroma's own Python client on vkb. Only the line that makes the client says so:

python docs/examples/with_chroma.py --path kb
python docs/examples/with_chroma.py --host localhost --port 8000      (vkb serve --path kb)
"""

import argparse

import chromadb


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", help="directory of a store; without it, a server is asked")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()

    if arguments.path:
        client = chromadb.Client(
            chromadb.Settings(
                chroma_api_impl="vkb.chroma.EmbeddedAPI",
                is_persistent=True,
                persist_directory=arguments.path,
            )
        )
    else:
        client = chromadb.HttpClient(host=arguments.host, port=arguments.port)

    # Vectors are given here. With an embedding_function, documents and query_texts do.
    animals = client.get_or_create_collection("animals_chroma", embedding_function=None)
    animals.upsert(
        ids=["dog", "bird", "fish"],
        embeddings=[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]],
        documents=["A dog barks.", "A bird sings.", "A fish swims."],
        metadatas=[{"legs": 4}, {"legs": 2}, {"legs": 0}],
    )
    print("nearest:", animals.query(query_embeddings=[[1.0, 0.1]], n_results=2)["ids"])
    print("with legs:", animals.get(where={"legs": {"$gt": 0}})["documents"])
    print("swims:", animals.get(where_document={"$contains": "swims"})["ids"])


if __name__ == "__main__":
    main()
