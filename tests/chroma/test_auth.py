# SPDX-License-Identifier: Apache-2.0
"""The Python client's ways to say who is asking, on a server that wants to know."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import chromadb
import pytest
from chromadb.config import Settings

from support import chroma
from support.chroma import ChromaServer


def test_headers_reach_a_server_that_does_not_ask_for_them(vkb_server, chroma_server):
    for server in (vkb_server, chroma_server):
        with_headers = chromadb.HttpClient(
            host="127.0.0.1", port=server.port, headers={"X-Chroma-Token": "secret", "X-Any": "x"}
        )
        assert with_headers.heartbeat() > 0


@pytest.fixture(scope="module")
def guarded(
    vkb_binary: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ChromaServer]:
    """`vkb serve` for those with a token, or a name and a password."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "tokens").write_text("anna s3cret-token\n")
    (directory / "users").write_text("anna:password\n")
    options = ("--auth-token-file", str(directory / "tokens"))
    options += ("--auth-basic-file", str(directory / "users"))
    headers = {"X-Chroma-Token": "s3cret-token"}
    with chroma.vkb_serve(vkb_binary, directory, *options, headers=headers) as server:
        yield server


def token_settings(header: str) -> dict[str, Any]:
    return {
        "chroma_client_auth_provider": "chromadb.auth.token_authn.TokenAuthClientProvider",
        "chroma_client_auth_credentials": "s3cret-token",
        "chroma_auth_token_transport_header": header,
    }


BASIC_SETTINGS = {
    "chroma_client_auth_provider": "chromadb.auth.basic_authn.BasicAuthClientProvider",
    "chroma_client_auth_credentials": "anna:password",
}


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Chroma-Token": "s3cret-token"}},
        {"headers": {"Authorization": "Bearer s3cret-token"}},
        {"settings": Settings(**token_settings("X-Chroma-Token"))},
        {"settings": Settings(**token_settings("Authorization"))},
        {"settings": Settings(**BASIC_SETTINGS)},
    ],
    ids=["token", "bearer", "token-provider", "bearer-provider", "basic-provider"],
)
def test_the_clients_ways_to_say_who_is_asking(guarded: ChromaServer, options: dict[str, Any]):
    client = chromadb.HttpClient(host="127.0.0.1", port=guarded.port, **options)
    assert client.get_user_identity().user_id == "anna"
    made = client.get_or_create_collection("things", embedding_function=None)
    made.upsert(ids=["a"], embeddings=[[1.0]])
    assert made.count() == 1


@pytest.mark.parametrize("headers", [{}, {"X-Chroma-Token": "wrong"}], ids=["nothing", "wrong"])
def test_who_does_not_say_it_is_refused(guarded: ChromaServer, headers: dict[str, str]):
    with pytest.raises(Exception, match="[Ff]orbidden|[Uu]nauthori[sz]ed|[Pp]ermission|token"):
        chromadb.HttpClient(host="127.0.0.1", port=guarded.port, headers=headers)
