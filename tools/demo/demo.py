# SPDX-License-Identifier: Apache-2.0
"""The demo: a LlamaIndex knowledge base in a real Redis becomes a vkb store, and answers questions.

1. Starts a redis-server and an embedding endpoint on free ports of this machine.
2. Fills Redis with this project's documentation in LlamaIndex's layout, embedded by a real model.
3. Runs `vkb import-redis`, which reads, stores and verifies.
4. Stops Redis, and asks the store with `vkb query --text`.

Leaves nothing running. The store, a config file and the logs stay in the directory given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools/demo")]

import numpy as np  # noqa: E402
from chunk_docs import Section, chunk_project  # noqa: E402
from support import kb, services  # noqa: E402

MODEL = "all-minilm"
COLLECTION = "vkb_docs"
PREFIX = "doc:"
QUESTIONS = (
    "What happens to the data when the machine loses power?",
    "Why are there one-byte codes beside the vectors?",
    "Can several processes read the store while another one writes?",
)
CONFIG = """\
# Written by the demo. The endpoint is not running any more: see the demo's last lines.
vector_store: {{ provider: vkb, path: {path}, collection: {collection} }}
embedding:    {{ provider: ollama, url: "{url}", model: {model} }}
"""


class DemoError(Exception):
    """What went wrong, in one line, and the log that tells more."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def say(text: str = "") -> None:
    print(text, flush=True)


def embed(url: str, texts: list[str]) -> np.ndarray:
    body = json.dumps({"model": MODEL, "input": texts}).encode()
    request = urllib.request.Request(f"{url}/api/embed", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        return np.array(json.load(reply)["embeddings"], dtype=np.float32)


def to_chunks(sections: list[Section], vectors: np.ndarray) -> list[kb.Chunk]:
    """LlamaIndex's nodes of the sections, linked within each file."""
    by_file: dict[str, list[kb.Chunk]] = {}
    for section, vector in zip(sections, vectors):
        chunks = by_file.setdefault(section.file, [])
        node_id = str(uuid.uuid5(kb.IDS, f"{section.file} {len(chunks)}"))
        metadata = {"file_name": section.file, "heading": section.heading, "line": section.line}
        document_id = str(uuid.uuid5(kb.IDS, section.file))
        chunks.append(kb.Chunk(node_id, section.text, vector, metadata, document_id))
    for chunks in by_file.values():
        kb.link(chunks)
    return [chunk for chunks in by_file.values() for chunk in chunks]


def shown(path: pathlib.Path) -> str:
    """The path as the user would type it here."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(pathlib.Path.cwd()))
    return str(path)


class Demo:
    def __init__(self, vkb: pathlib.Path, directory: pathlib.Path) -> None:
        self.vkb = vkb
        self.directory = directory
        self.store = directory / "kb"
        self.config = directory / "vkb.yaml"

    def run(self, *arguments: str, quiet: bool = False) -> str:
        """Runs vkb, showing the command as it could be typed and its output; returns its stdout."""
        if not quiet:
            say(f"$ {shown(self.vkb)} {shlex.join(arguments)}")
        log = self.directory / "vkb.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("VKB_")}
        with open(log, "wb") as err:
            done = subprocess.run(
                [self.vkb, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                env=environment,
            )
        if done.returncode != 0:
            raise DemoError(
                f"vkb {arguments[0]} failed with exit code {done.returncode}", services.tail(log)
            )
        output = done.stdout.decode("utf-8", "replace")
        if not quiet:
            say(textwrap.indent(output.rstrip(), "  "))
        return output

    def fill(self, server: services.RedisServer, url: str) -> None:
        sections = chunk_project(ROOT)
        started = time.monotonic()
        vectors = embed(url, [section.text for section in sections])
        seconds = time.monotonic() - started
        kb.write(server.client(), to_chunks(sections, vectors), PREFIX)
        files = len({section.file for section in sections})
        used = server.client().info("memory")["used_memory_human"]
        shape = f"{len(sections)} chunks of {files} files, {vectors.shape[1]} floats each"
        say(f"  {shape}, embedded in {seconds:.1f} s")
        say(f"  Redis holds them as hashes {PREFIX}<node id>, {used} of memory\n")

    def ask(self, question: str) -> None:
        command = ("query", "--config", shown(self.config), "--text", question, "-k", "3")
        say(f"$ {shown(self.vkb)} {shlex.join(command)}")
        started = time.monotonic()
        answer = json.loads(self.run(*command, "--json", quiet=True))
        seconds = time.monotonic() - started
        rows = zip(answer["distances"][0], answer["metadatas"][0], answer["documents"][0])
        for rank, (distance, metadata, document) in enumerate(rows, 1):
            place = f"{metadata['file_name']}:{metadata['line']}  {metadata['heading']}"
            say(f"  {rank}. {place}  (distance {distance:.3f})")
            body = " ".join(document.removeprefix(metadata["heading"]).split())
            say(textwrap.indent(textwrap.shorten(body, 230, placeholder=" ..."), "     "))
        say(
            f"  opened in {answer['open_ms']:.2f} ms, answered in {answer['elapsed_ms']:.2f} ms; "
            f"the whole command, embedding included, took {seconds * 1000:.0f} ms\n"
        )

    def main(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        report = self.directory / "report"
        shutil.rmtree(report, ignore_errors=True)
        with services.embed_endpoint(log=self.directory / "embed_server.log") as url:
            settings = {
                "path": shown(self.store),
                "collection": COLLECTION,
                "url": url,
                "model": MODEL,
            }
            self.config.write_text(CONFIG.format(**settings), encoding="utf-8")
            with services.redis_server() as server:
                say(f"1. A real Redis at {server.url}, and an embedding model behind {url}.\n")
                say("2. A knowledge base in LlamaIndex's layout: this project's own documentation.")
                self.fill(server, url)
                say("3. The import, with its verification against Redis.")
                options = ["--prefix", PREFIX, "--collection", COLLECTION, "--model", MODEL]
                places = ["--path", shown(self.store), "--report", shown(report)]
                self.run("import-redis", server.url, *options, *places)
            say("\n4. Redis is stopped. From here on the store answers alone.\n")
            for question in QUESTIONS:
                self.ask(question)
        self.what_next(url)

    def what_next(self, url: str) -> None:
        program = shown(self.vkb)
        config = f"--config {shown(self.config)}"
        port = url.rsplit(":", 1)[1]
        python = shown(pathlib.Path(sys.prefix) / "bin/python")
        say(f"Nothing is left running; the store is in {shown(self.store)}. What you can try next:")
        say(f"  {program} info {config}")
        say(f'  {program} get {config} --where \'{{"file_name": "README.md"}}\' --limit 2')
        say(f"  {program} check --deep {config}")
        say("Your own questions, with the embedding model running beside:")
        say(f"  {python} tools/demo/embed_server.py --port {port} &")
        say(f"  {program} query {config} --text 'How is a filter evaluated?'")
        say("Your own knowledge base (it is only read):")
        say(f"  {program} import-redis redis://127.0.0.1:6379 --path my-kb --dry-run")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--vkb", type=pathlib.Path, default=ROOT / "build/release/tools/vkb")
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "build/demo")
    arguments = parser.parse_args()
    services.exit_on_termination()
    try:
        Demo(arguments.vkb.resolve(), arguments.directory.resolve()).main()
    except DemoError as error:
        print(f"{error.log}\ndemo: {error}; its last output is above", file=sys.stderr)
        return 1
    except (OSError, RuntimeError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
