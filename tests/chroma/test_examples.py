# SPDX-License-Identifier: Apache-2.0
"""The scripts in docs/examples run, in the process and over the server, and say the same."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import chromadb
import numpy as np
import pytest

from support import javascript
from support.chroma import ChromaServer
from support.services import ROOT

EXAMPLES = ROOT / "docs/examples"
SAYS = {
    "with_chroma.py": [
        "nearest: [['dog', 'fish']]",
        "with legs: ['A dog barks.', 'A bird sings.']",
    ],
    "with_llama_index.py": [
        "n2 of book: The bird sings in the tree.",
        "with four legs: The dog barks at the moon.",
        "left: ['n3']",
    ],
    "with_langchain.py": [
        "bird: The bird sings in the tree.",
        "with many legs: The dog barks at the moon.",
        "retrieved: A fish swims in the sea.",
        "left: ['bird', 'fish']",
    ],
}


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_these_are_all_examples():
    assert {p.name for p in EXAMPLES.iterdir() if p.is_file()} == {
        *SAYS,
        "from_chroma.py",
        "with_chroma.mjs",
    }


@pytest.mark.parametrize("script", SAYS)
def test_an_example(script: str, vkb_server: ChromaServer, tmp_path: pathlib.Path):
    in_process = run(script, "--path", tmp_path / "kb")
    over_http = run(script, "--host", "127.0.0.1", "--port", vkb_server.port)
    assert over_http == in_process
    for line in SAYS[script]:
        assert line in in_process


def test_the_javascript_example(
    vkb_server: ChromaServer, npm_packages: pathlib.Path, tmp_path: pathlib.Path
):
    script = EXAMPLES / "with_chroma.mjs"
    done = javascript.run(script, npm_packages, tmp_path, "127.0.0.1", vkb_server.port)
    assert done.returncode == 0, done.stdout
    assert "nearest: [ 'dog', 'fish' ]" in done.stdout
    assert "swims: [ 'fish' ]" in done.stdout


def move(source: pathlib.Path, target: pathlib.Path, *options: str) -> tuple[int, list[str]]:
    """The exit code of from_chroma.py, and the lines it prints."""
    command = [sys.executable, str(EXAMPLES / "from_chroma.py")]
    done = subprocess.run(
        [*command, "--from", str(source), "--to", str(target), *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def chroma_directory(tmp_path: pathlib.Path) -> pathlib.Path:
    """A real Chroma's: three collections in two databases, one with more than two batches."""
    directory = tmp_path / "chroma"
    client = chromadb.PersistentClient(directory)
    large = client.create_collection(
        "large",
        metadata={"of": "numbers", "n": 1},
        configuration={"hnsw": {"space": "cosine", "ef_search": 77, "max_neighbors": 24}},
        embedding_function=None,
    )
    vectors = np.random.default_rng(7).normal(size=(2100, 8)).astype("float32")
    large.add(
        ids=[f"r{n}" for n in range(2100)],
        embeddings=vectors,
        documents=[f"number {n}" if n % 3 else None for n in range(2100)],
        metadatas=[{"n": n, "f": n / 2, "b": n % 2 == 0, "t": ["a", str(n)]} for n in range(2100)],
        uris=[f"file:///{n}" if n % 5 else None for n in range(2100)],
    )
    client.create_collection("empty", metadata={"hnsw:space": "ip"})  # the default function
    admin = chromadb.AdminClient(client.get_settings())
    admin.create_database("second")
    client.set_database("second")
    other = client.create_collection("large", embedding_function=None)
    other.add(ids=["a", "b"], embeddings=[[0.1, -0.0], [3e38, 1e-45]], metadatas=[None, {"x": "é"}])
    client.close()
    return directory


def test_from_chroma(chroma_directory: pathlib.Path, tmp_path: pathlib.Path):
    import vkb

    store = tmp_path / "kb"
    lines = [
        "default_database/empty: 0 records, 0 differences",
        "default_database/large: 2100 records, 0 differences",
        "second/large: 2 records, 0 differences",
        "3 collections, 2102 records, 0 differences",
    ]
    for _ in range(2):  # again is harmless
        code, found = move(chroma_directory, store)
        assert (code, sorted(found)) == (0, sorted(lines))
    with vkb.PersistentClient(store) as client:
        large = client.get_collection("large")
        assert large.metadata == {"of": "numbers", "n": 1}
        hnsw = large.configuration_json["hnsw"]
        assert (hnsw["space"], hnsw["ef_search"], hnsw["max_neighbors"]) == ("cosine", 77, 24)
        assert large.get(limit=1, offset=1999)["ids"] == ["r1999"]  # in the same order
        empty = client.get_collection("empty").configuration_json
        assert empty["hnsw"]["space"] == "ip"
        assert empty["embedding_function"]["name"] == "default"
        # What is not as in the source is counted.
        large.update(ids=["r5"], metadatas=[{"more": 1}])
        large.add(ids=["new"], embeddings=np.ones((1, 8)))
    code, found = move(chroma_directory, store)
    assert code == 1
    assert "default_database/large: 2100 records, 2 differences" in found


def test_from_chroma_takes_one_collection(chroma_directory: pathlib.Path, tmp_path: pathlib.Path):
    code, found = move(chroma_directory, tmp_path / "kb", "--collection", "empty")
    assert (code, found[-1]) == (0, "1 collections, 0 records, 0 differences")
    code, found = move(chroma_directory, tmp_path / "kb", "--collection", "none")
    assert (code, found) == (1, ["0 collections, 0 records, 0 differences"])
    assert move(tmp_path / "kb", tmp_path / "other") == (2, [])  # holds no chroma.sqlite3
    assert not (tmp_path / "other").exists()
