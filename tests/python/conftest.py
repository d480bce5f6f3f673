# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the Python package."""

from __future__ import annotations

import gc
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import vkb


@pytest.fixture
def client(tmp_path: pathlib.Path) -> Iterator[Any]:
    """A client of an empty store in this process."""
    with vkb.PersistentClient(tmp_path / "store", vkb.Settings(allow_reset=True)) as opened:
        yield opened


@pytest.fixture
def notes(client: Any) -> Any:
    """An empty collection."""
    return client.create_collection("notes", embedding_function=None)


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """A store that a test leaves open would be shared with the next one of that directory."""
    yield
    gc.collect()
