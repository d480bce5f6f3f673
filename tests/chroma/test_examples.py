# SPDX-License-Identifier: Apache-2.0
"""The scripts in docs/examples run, in the process and over the server, and say the same."""

from __future__ import annotations

import pathlib
import subprocess
import sys

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
    assert {p.name for p in EXAMPLES.iterdir() if p.is_file()} == {*SAYS, "with_chroma.mjs"}


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
