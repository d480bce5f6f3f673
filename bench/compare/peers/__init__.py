# SPDX-License-Identifier: Apache-2.0
"""The peers by name, in the order in which they run."""

from __future__ import annotations

from typing import Any

from peers import databases, libraries, own

PEERS: dict[str, Any] = {
    peer.name: peer
    for peer in (
        own.Vkb,
        own.VkbProgram,
        databases.Chroma,
        libraries.Hnswlib,
        libraries.Usearch,
        libraries.FaissFlat,
        libraries.FaissSq8,
        databases.Zvec,
        databases.ZvecRabitq,
        databases.QdrantEdge,
        databases.LanceDb,
        databases.LanceDbRefined,
    )
}


def find(name: str) -> Any:
    """The class of a peer; KeyError when there is none of that name."""
    return PEERS[name]
