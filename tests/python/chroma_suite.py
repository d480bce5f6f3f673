# SPDX-License-Identifier: Apache-2.0
"""pytest plugin: Chroma's own tests, as the chromadb package ships them, over vkb's engine in the
process. Not part of `make test`: it needs what Chroma's tests need, and some minutes.

    python -m venv suite && suite/bin/pip install ./python chromadb==1.5.9 pytest==8.4.2 \\
        'hypothesis[numpy]==6.112.2' pytest-asyncio pytest-timeout psutil fastapi pandas \\
        opentelemetry-instrumentation-fastapi snowballstemmer
    T=$(suite/bin/python -c 'import chromadb, os; print(os.path.dirname(chromadb.__file__))')/test
    CHROMA_RUST_BINDINGS_TEST_ONLY=1 PYTHONPATH=tests/python suite/bin/python -m pytest \\
        -p chroma_suite --import-mode=importlib --rootdir $T/../.. -o asyncio_mode=auto \\
        $T/test_api.py $T/property/test_embeddings.py …

With CHROMA_RUST_BINDINGS_TEST_ONLY the tests run over the fixtures rust_sqlite_ephemeral and
rust_sqlite_persistent, which are Chroma's own store in the process; here they are replaced. Its
default embedding function, which downloads a model, becomes one that hashes. VKB_MAX_EXAMPLES caps
the examples that Hypothesis tries.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
from chromadb.config import Settings, System
from chromadb.utils.embedding_functions import onnx_mini_lm_l6_v2 as default_model
from hypothesis import stateful

IMPLEMENTATION = "vkb.chroma.EmbeddedAPI"
MOST_EXAMPLES = int(os.environ.get("VKB_MAX_EXAMPLES") or 0)


def running(**settings: Any) -> Iterator[System]:
    system = System(Settings(chroma_api_impl=IMPLEMENTATION, allow_reset=True, **settings))
    system.start()
    yield system
    system.stop()


@pytest.fixture
def rust_sqlite_ephemeral() -> Iterator[System]:
    yield from running(is_persistent=False, persist_directory="")


@pytest.fixture
def rust_sqlite_persistent() -> Iterator[System]:
    with tempfile.TemporaryDirectory() as directory:
        yield from running(is_persistent=True, persist_directory=directory)


def hashed(self: object, input: list[str]) -> list[np.ndarray]:
    vectors = []
    for text in input:
        seed = int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=384).astype("float32")
        vectors.append(vector / np.linalg.norm(vector))
    return vectors


def capped(settings: hypothesis.settings) -> hypothesis.settings:
    if not MOST_EXAMPLES or settings.max_examples <= MOST_EXAMPLES:
        return settings
    return hypothesis.settings(settings, max_examples=MOST_EXAMPLES)


def run_capped(factory: Any, *, settings: Any = None, _min_steps: int = 0) -> None:
    if settings is None:  # as Hypothesis chooses
        lenient = hypothesis.settings(
            deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        settings = getattr(getattr(factory, "TestCase", None), "settings", lenient)
    run_state_machine(factory, settings=capped(settings), _min_steps=_min_steps)


run_state_machine = stateful.run_state_machine_as_test


def pytest_configure() -> None:
    default_model.ONNXMiniLM_L6_V2.__call__ = hashed
    stateful.run_state_machine_as_test = run_capped


@pytest.hookimpl(tryfirst=True)
def pytest_plugin_registered(plugin: Any) -> None:
    """Before pytest collects the fixtures of Chroma's conftest.py."""
    if str(getattr(plugin, "__file__", "")).endswith("chromadb/test/conftest.py"):
        plugin.rust_sqlite_ephemeral = rust_sqlite_ephemeral
        plugin.rust_sqlite_persistent = rust_sqlite_persistent


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: Any) -> None:
    test = getattr(item.obj, "__func__", item.obj)
    found = getattr(test, "_hypothesis_internal_use_settings", None)
    if found is not None:
        test._hypothesis_internal_use_settings = capped(found)
    invariants = getattr(item.module, "invariants", None)
    if hasattr(invariants, "log_size_below_max"):
        # Looks into the log in Chroma's database file, which is not there.
        invariants.log_size_below_max = lambda *arguments: None
