# SPDX-License-Identifier: Apache-2.0
"""The server itself, its tenants and its databases."""

# fmt: off
from __future__ import annotations

import re

from support.wire_rows import (
    NAME_RULE, NO_UUID, OTHER, SHORT_DATABASE, Expected, Row, bad, missing, ok, query_string,
    rows, shape, unparsable,
)

SERVER = [
    Row("GET", "/api/v2", None, ok(lambda body: list(body) == ["nanosecond heartbeat"])),
    Row("GET", "/api/v2/heartbeat", None, ok(lambda b: b["nanosecond heartbeat"] > 10**18)),
    Row("GET", "/api/v2/heartbeat?x=%ff", None, ok(lambda b: b["nanosecond heartbeat"] > 10**18)),
    Row("GET", "/api/v2/version", None, ok(lambda body: re.fullmatch(r"\d+\.\d+\.\d+", body))),
    Row("GET", "/api/v2/healthcheck", None,
        ok({"is_executor_ready": True, "is_log_client_ready": True})),
    Row("GET", "/api/v2/pre-flight-checks", None,
        ok({"max_batch_size": 5461, "supports_base64_encoding": True})),
    Row("GET", "/api/v2/auth/identity", None,
        ok({"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]})),
    Row("GET", "/openapi.json", None, ok(lambda body: body["openapi"].startswith("3.1"))),
    Row("GET", "/", None, ok(status=404)),
    Row("GET", "/api/v2/nope", None, ok(status=404)),
    Row("GET", "/api/v2/heartbeat/", None, ok(status=404)),
    Row("GET", "//api/v2/heartbeat", None, ok(status=404)),
    Row("GET", "/api/v2/%2e%2e/heartbeat", None, ok(status=404)),
    Row("GET", "/api/v2/../../etc/passwd", None, ok(status=404)),
    Row("GET", "{D}//collections", None, ok(status=404)),
    Row("GET", "{D}/collections/{id}/nope", None, ok(status=404)),
    Row("PUT", "/api/v2/heartbeat", None, ok(status=405)),
    Row("POST", "{D}/collections/{id}/count", {}, ok(status=405)),
    Row("GET", "{D}/collections/{id}/add", None, ok(status=405)),
    Row("HEAD", "/api/v2/heartbeat", None, ok()),
    Row("HEAD", "{D}/collections", None, ok()),
    *(
        Row(method, "/api/v1/collections", None,
            Expected(410, "Unimplemented", "The v1 API is deprecated. Please use /v2 apis"))
        for method in ("GET", "PUT", "PATCH", "DELETE")
    ),
    Row("POST", "/api/v1/collections", {"name": "abc"}, ok(status=405)),
]

TENANTS = [
    *rows(
        "POST", "/api/v2/tenants",
        ({"name": "{new}"}, ok({})),
        ({"name": "default_tenant"},
         Expected(409, OTHER, "Tenant [default_tenant] already exists")),
        ({"name": "ab"}, bad(re.compile("Validation error: name: Validation error: length .+"))),
        ({"name": 5}, shape("name")),
        ({}, shape("missing field `name`")),
        (b"", unparsable()),
        (b"{", unparsable()),
    ),
    *rows("GET", "/api/v2/tenants/default_tenant",
          (None, ok({"name": "default_tenant", "resource_name": None}))),
    *rows("GET", "/api/v2/tenants/nope", (None, missing("Tenant [nope] not found"))),
    *rows("GET", "/api/v2/tenants/a+b", (None, missing("Tenant [a+b] not found"))),
    *rows("GET", "/api/v2/tenants/%e2%82%ac", (None, missing("Tenant [€] not found"))),
    *rows("GET", "/api/v2/tenants/..%2f..%2fetc%2fpasswd",
          (None, missing("Tenant [../../etc/passwd] not found"))),
    *rows("PATCH", "/api/v2/tenants/default_tenant",
          ({"resource_name": "x"}, ok({})), ({}, shape("missing field `resource_name`"))),
    *rows("PATCH", "/api/v2/tenants/nope", ({"resource_name": "x"}, ok({}))),
]

T = "/api/v2/tenants/default_tenant/databases"
DATABASES = [
    *rows(
        "POST", T,
        ({"name": "{new}"}, ok({})),
        ({"name": "default_database"},
         Expected(409, OTHER, "Database [default_database] already exists")),
        *(({"name": name}, bad(NAME_RULE + name))
          for name in ("ab", "a b c", ".abc", "abc.", "::1", "a" * 513, "café1")),
        ({"name": "1.2.3.4"}, bad("Expected a name that is not a valid ip address. Got 1.2.3.4")),
        ({"name": "a..b"},
         bad("Expected a name that does not contains two consecutive periods (..). Got a..b")),
        ({}, shape("missing field `name`")),
        ({"name": None}, shape("name")),
    ),
    *rows("POST", "/api/v2/tenants/nope/databases", ({"name": "{new}"}, ok({}))),
    *rows("GET", T + "/default_database",
          (None, ok({"id": NO_UUID, "name": "default_database", "tenant": "default_tenant"}))),
    *rows("GET", T + "/nope",
          (None, missing("Database [nope] not found. Are you sure it exists?"))),
    *rows("GET", T + "/ab", (None, bad(SHORT_DATABASE))),
    *rows("DELETE", T + "/nope", (None, missing("Database [nope] not found"))),
    *rows("GET", "/api/v2/tenants/nope2/databases", (None, ok([]))),
    *rows("GET", T + "?limit=0", (None, ok([]))),
    *rows("GET", T + "?limit=%30", (None, ok([]))),
    *rows("GET", T + "?limit=%2b0&other=%zz", (None, ok([]))),
    *rows("GET", T + "?limit=0&limit=0", (None, query_string("duplicate field `limit`"))),
    *rows("GET", T + "?limit=%zz", (None, query_string("limit: "))),
    *rows("GET", T + "?offset=4294967295", (None, ok([]))),
    *(
        Row("GET", f"{T}?{name}={value}", None, query_string(f"{name}: "))
        for name in ("limit", "offset") for value in ("-1", "x", "", "99999999999")
    ),
]
