# SPDX-License-Identifier: Apache-2.0
"""A collection's configuration: as users write it, and as JSON the way Chroma stores it."""

from __future__ import annotations

import warnings
from typing import Any, Dict, Optional, TypedDict

from .embedding_functions import describe, function_name, rebuild
from .types import Space


class HNSWConfiguration(TypedDict, total=False):
    """The graph. Only `space` (how distance is measured), `ef_construction`, `ef_search` and
    `max_neighbors` count here; the other names are kept for Chroma's sake."""

    space: Space
    ef_construction: int
    max_neighbors: int
    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


CreateHNSWConfiguration = HNSWConfiguration


class UpdateHNSWConfiguration(TypedDict, total=False):
    """What of the graph can be changed later."""

    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class SpannConfiguration(TypedDict, total=False):
    """An index of Chroma's cloud. Accepted; the collection gets a graph of the same space."""

    search_nprobe: int
    write_nprobe: int
    space: Space
    ef_construction: int
    ef_search: int
    max_neighbors: int
    reassign_neighbor_count: int
    split_threshold: int
    merge_threshold: int


CreateSpannConfiguration = SpannConfiguration


class UpdateSpannConfiguration(TypedDict, total=False):
    """As SpannConfiguration, what can be changed later."""

    search_nprobe: int
    ef_search: int


class CollectionConfiguration(TypedDict, total=False):
    """`Collection.configuration`."""

    hnsw: Optional[HNSWConfiguration]
    spann: Optional[SpannConfiguration]
    embedding_function: Optional[Any]


CreateCollectionConfiguration = CollectionConfiguration


class UpdateCollectionConfiguration(TypedDict, total=False):
    """The `configuration` of Collection.modify()."""

    hnsw: Optional[UpdateHNSWConfiguration]
    spann: Optional[UpdateSpannConfiguration]
    embedding_function: Optional[Any]


def create_to_json(
    configuration: Optional[Any], metadata: Optional[Any] = None
) -> Optional[Dict[str, Any]]:
    """What is sent and stored for a new collection; None when nothing was configured.

    An embedding function that can be rebuilt stands there by name and arguments, and chooses the
    space where none is given; one that cannot stands there as "legacy".
    """
    if not configuration:
        return None
    hnsw = _copy(configuration.get("hnsw"))
    spann = _copy(configuration.get("spann"))
    if hnsw is not None and spann is not None:
        raise ValueError("hnsw and spann cannot both be provided")
    function = configuration.get("embedding_function")
    stored = describe(function)
    if stored["type"] == "known":
        space_in_metadata = (metadata or {}).get("hnsw:space")
        if hnsw is None and spann is None and space_in_metadata is None:
            hnsw = {}
        for index in (hnsw, spann):
            if index is not None and index.get("space") is None:
                index["space"] = function.default_space()
        _warn_of_space(function, (hnsw or spann or {}).get("space", space_in_metadata))
    return {"hnsw": hnsw, "spann": spann, "embedding_function": stored}


def update_to_json(configuration: Optional[Any]) -> Optional[Dict[str, Any]]:
    """What is sent for Collection.modify()."""
    if not configuration:
        return None
    hnsw, spann = configuration.get("hnsw"), configuration.get("spann")
    function = configuration.get("embedding_function")
    if hnsw is None and spann is None and function is None:
        return {}
    stored = None if function is None else describe(function)
    return {"hnsw": hnsw, "spann": spann, "embedding_function": stored}


def from_json(stored: Dict[str, Any]) -> CollectionConfiguration:
    """The configuration with its embedding function rebuilt; ValueError when that fails."""
    return {
        "hnsw": stored.get("hnsw"),
        "spann": stored.get("spann"),
        "embedding_function": rebuild(stored.get("embedding_function")),
    }


def check_update(stored: Dict[str, Any], configuration: Any) -> None:
    """ValueError where modify() would put another embedding function in the place of one, or
    change an index that no collection here has."""
    if configuration.get("hnsw") is not None and configuration.get("spann") is not None:
        raise ValueError("hnsw and spann cannot both be provided")
    if configuration.get("spann") is not None:
        raise ValueError("Trying to update SPANN config but schema has HNSW")
    new = configuration.get("embedding_function")
    old = stored.get("embedding_function") or {}
    if new is None or old.get("type") != "known":
        return
    if describe(new)["type"] != "known":
        return
    if old.get("name") != function_name(new):
        raise ValueError(
            "Cannot update embedding function: incompatible types "
            f"({old.get('name')} vs {function_name(new)})"
        )
    if hasattr(new, "validate_config_update"):
        new.validate_config_update(old.get("config"), new.get_config())


def check_conflict_on_create(function: Optional[Any], configured: Optional[Any]) -> None:
    """ValueError when two different embedding functions are given."""
    if function is None or configured is None:
        return
    ours, theirs = function_name(function), function_name(configured)
    if ours not in ("default", theirs):
        raise ValueError(
            "Multiple embedding functions provided. Please provide only one. Embedding function "
            f"conflict: {ours} vs {theirs}"
        )


def check_conflict_on_get(function: Optional[Any], stored: Optional[Dict[str, Any]]) -> None:
    """ValueError when the collection was made with another embedding function."""
    if function is None or stored is None or stored.get("name") is None:
        return
    name = function_name(function)
    if name not in ("default", stored["name"]):
        raise ValueError(
            "An embedding function already exists in the collection configuration, and a new one "
            "is provided. If this is intentional, please embed documents separately. Embedding "
            f"function conflict: new: {name} vs persisted: {stored['name']}"
        )


def _copy(value: Optional[Any]) -> Optional[Dict[str, Any]]:
    return None if value is None else dict(value)


def _warn_of_space(function: Any, space: Optional[str]) -> None:
    supported = function.supported_spaces() if hasattr(function, "supported_spaces") else None
    if space is not None and supported is not None and space not in supported:
        warnings.warn(
            f"space {space} is not supported by {function_name(function)}. "
            f"Supported spaces: {supported}",
            UserWarning,
            stacklevel=4,
        )
