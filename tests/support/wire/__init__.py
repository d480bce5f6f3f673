# SPDX-License-Identifier: Apache-2.0
"""Requests and their answers on the wire, route by route. Every row holds on the real `chroma run`,
and on `vkb serve` unless the row says what vkb does instead, and why.

Placeholders: {D} the default database; {C} a collection of the records a, b and c, made for the
row; {E} an empty one; {id}, {ID} and {hex} the UUID of a shared collection like {C} in three
spellings, {name} its name, {other} the name of another; {new} a name that is not taken."""

# fmt: off
from __future__ import annotations

from support.wire.collection import COLLECTION, CREATE
from support.wire.places import DATABASES, SERVER, TENANTS
from support.wire.reads import EMPTY, FILTER, GET, QUERY
from support.wire.writes import ADD, ORDER, WRITE

ALL = {
    "server": SERVER, "tenants": TENANTS, "databases": DATABASES, "create": CREATE,
    "collection": COLLECTION, "order": ORDER, "add": ADD, "write": WRITE, "get": GET,
    "filter": FILTER, "query": QUERY, "empty": EMPTY,
}
