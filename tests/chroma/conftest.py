# SPDX-License-Identifier: Apache-2.0
"""Backends of the client tests: see support/chroma_clients.py."""

from __future__ import annotations

from typing import Any

import pytest

from support import chroma_clients
from support.animals import DOCUMENTS, IDS, METADATAS, URIS, VECTORS
from support.chroma_clients import Backend


@pytest.fixture(scope="session", params=chroma_clients.ALL)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """Each way to a Chroma collection in turn."""
    return chroma_clients.open_backend(request, tmp_path_factory.mktemp("backend"))


@pytest.fixture
def client(backend: Backend) -> Any:
    """A client of an empty database."""
    for collection in backend.client.list_collections():
        backend.client.delete_collection(collection.name)
    return backend.client


@pytest.fixture
def collection(client: Any) -> Any:
    """An empty collection."""
    return client.create_collection("things", embedding_function=None)


@pytest.fixture
def animals(collection: Any) -> Any:
    """A collection with the records of support/animals.py."""
    collection.add(ids=IDS, embeddings=VECTORS, documents=DOCUMENTS, metadatas=METADATAS, uris=URIS)
    return collection


@pytest.fixture
def admin(backend: Backend, client: Any) -> Any:
    """A client for tenants and databases, of which only the default ones are there."""
    client.reset()
    return backend.admin()
