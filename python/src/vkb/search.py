# SPDX-License-Identifier: Apache-2.0
"""What `Collection.search` takes, under the names that Chroma gives it.

Search()
    .where((K("year") > 2019) & K.DOCUMENT.contains("engine"))
    .rank(Knn(query=[0.1, 0.2]) * 0.7 + Val(0.5))
    .limit(10)
    .select(K.DOCUMENT, K.SCORE, "title")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional, Sequence, Set, Union

from .expressions import K, Key, Knn, Rank, Rrf, Val, Where, key_name

__all__ = [
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
    "Val",
    "Where",
]


@dataclass
class Limit:
    """Which part of the ranked records: `limit` of them after `offset`."""

    offset: int = 0
    limit: Optional[int] = None

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        result: Dict[str, Any] = {"offset": self.offset}
        if self.limit is not None:
            result["limit"] = self.limit
        return result

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "Limit":
        """From JSON."""
        unexpected = set(data) - {"offset", "limit"}
        if unexpected:
            raise ValueError(f"Unexpected keys in Limit dict: {unexpected}")
        limit = Limit(data.get("offset", 0), data.get("limit"))
        if not isinstance(limit.offset, int) or not isinstance(limit.limit, (int, type(None))):
            raise TypeError("Limit offset and limit must be integers")
        if limit.offset < 0:
            raise ValueError(f"Limit offset must be non-negative, got {limit.offset}")
        if limit.limit is not None and limit.limit <= 0:
            raise ValueError(f"Limit limit must be positive, got {limit.limit}")
        return limit


@dataclass
class Select:
    """Which fields come back: keys, or names of metadata fields."""

    keys: Set[Union[Key, str]] = field(default_factory=set)

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        return {"keys": sorted({key_name(key) for key in self.keys})}

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "Select":
        """From JSON."""
        unexpected = set(data) - {"keys"}
        if unexpected:
            raise ValueError(f"Unexpected keys in Select dict: {unexpected}")
        return Select({key_name(key) for key in data.get("keys", ())})


class _KOf:
    _operator = ""

    def __init__(self, keys: Union[Key, str, Sequence[Union[Key, str]]], k: int) -> None:
        many = [keys] if isinstance(keys, (Key, str)) else list(keys)
        if not many or k <= 0:
            raise ValueError(f"{self._operator} needs keys and a positive k")
        self._dict = {self._operator: {"keys": [key_name(key) for key in many], "k": k}}

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        return self._dict


class MinK(_KOf):
    """Of each group the `k` records with the smallest values of `keys`."""

    _operator = "$min_k"


class MaxK(_KOf):
    """Of each group the `k` records with the largest values of `keys`."""

    _operator = "$max_k"


class GroupBy:
    """Groups the ranked records by metadata fields and keeps some of each group."""

    def __init__(
        self,
        keys: Union[Key, str, Sequence[Union[Key, str]], None] = None,
        aggregate: Optional[Union[MinK, MaxK]] = None,
    ) -> None:
        many = [keys] if isinstance(keys, (Key, str)) else list(keys or ())
        if bool(many) != (aggregate is not None):
            raise ValueError("GroupBy needs both keys and aggregate, or none of them")
        self._dict: Dict[str, Any] = {}
        if aggregate is not None:
            self._dict = {"keys": [key_name(key) for key in many], "aggregate": aggregate.to_dict()}

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        return self._dict

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "GroupBy":
        """From JSON."""
        result = GroupBy()
        result._dict = dict(data)
        return result


class Search:
    """One search: a filter, a ranking, a part of what was ranked, and the fields to return.

    Each argument is an expression, or its JSON; the methods of the same names return a copy with
    that part replaced.
    """

    def __init__(
        self,
        where: Optional[Union[Where, Dict[str, Any]]] = None,
        rank: Optional[Union[Rank, Dict[str, Any]]] = None,
        group_by: Optional[Union[GroupBy, Dict[str, Any]]] = None,
        limit: Optional[Union[Limit, Dict[str, Any], int]] = None,
        select: Optional[Union[Select, Dict[str, Any], Sequence[str], Set[str]]] = None,
    ) -> None:
        if isinstance(limit, int):
            limit = {"limit": limit}
        if isinstance(select, (list, tuple, set)):
            select = {"keys": list(select)}
        self._parts: Dict[str, Any] = {
            "filter": _part("where", where, Where.from_dict, None),
            "rank": _part("rank", rank, Rank.from_dict, None),
            "group_by": _part("group_by", group_by, GroupBy.from_dict, {}),
            "limit": _part("limit", limit, Limit.from_dict, Limit().to_dict()),
            "select": _part("select", select, Select.from_dict, Select().to_dict()),
        }

    def to_dict(self) -> Dict[str, Any]:
        """As JSON."""
        return dict(self._parts)

    def _with(self, name: str, value: Any) -> "Search":
        copy = Search()
        copy._parts = {**self._parts, name: value}
        return copy

    def where(self, where: Optional[Union[Where, Dict[str, Any]]]) -> "Search":
        """Only records that satisfy this."""
        return self._with("filter", _part("where", where, Where.from_dict, None))

    def rank(self, rank_expr: Optional[Union[Rank, Dict[str, Any]]]) -> "Search":
        """Scored and ordered by this."""
        return self._with("rank", _part("rank", rank_expr, Rank.from_dict, None))

    def group_by(self, group_by: Optional[Union[GroupBy, Dict[str, Any]]]) -> "Search":
        """Some of each group."""
        return self._with("group_by", _part("group_by", group_by, GroupBy.from_dict, {}))

    def limit(self, limit: int, offset: int = 0) -> "Search":
        """`limit` records after the first `offset`."""
        return self._with("limit", Limit(offset, limit).to_dict())

    def select(self, *keys: Union[Key, str]) -> "Search":
        """Return these fields."""
        return self._with("select", Select(set(keys)).to_dict())

    def select_all(self) -> "Search":
        """Return document, embedding, metadata and score."""
        return self.select(K.DOCUMENT, K.EMBEDDING, K.METADATA, K.SCORE)


def _part(name: str, value: Any, read: Callable[[Any], Any], absent: Any) -> Any:
    if value is None:
        return absent
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return read(value).to_dict()
    raise TypeError(f"{name} must be an expression, a dict or None, got {type(value).__name__}")
