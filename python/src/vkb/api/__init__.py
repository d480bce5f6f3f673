# SPDX-License-Identifier: Apache-2.0
"""Chroma's place for the types of clients and arguments."""

from ..client import AdminAPI, ClientAPI
from ..configuration import (
    CollectionConfiguration,
    CreateCollectionConfiguration,
    UpdateCollectionConfiguration,
)
from ..search import GroupBy, K, Key, Knn, Limit, MaxK, MinK, Rank, Rrf, Search, Select, Val
from .types import *  # noqa: F403
from .types import __all__ as _types

__all__ = [
    "AdminAPI",
    "ClientAPI",
    "CollectionConfiguration",
    "CreateCollectionConfiguration",
    "GroupBy",
    "K",
    "Key",
    "Knn",
    "Limit",
    "MaxK",
    "MinK",
    "Rank",
    "Rrf",
    "Search",
    "Select",
    "UpdateCollectionConfiguration",
    "Val",
    *_types,
]
