# SPDX-License-Identifier: Apache-2.0
"""The folders depend on each other in one direction, third-party headers stay where they belong,
and each source file names its licence. Reads the #include lines; needs no build."""

from __future__ import annotations

import fnmatch
import pathlib
import re

import pytest

from support.services import ROOT

FOLDERS = ("storage", "engine", "importers", "server", "python", "tools", "bench", "tests")
PUBLIC = (
    *("engine/vkb.h", "engine/backup.h", "engine/explanation.h"),
    *("storage/error.h", "storage/filter.h", "storage/value.h"),
)

# What a file of a folder may include from this project, as patterns. Of the engine, importers, the
# server and the program see its public headers, and helpers that know nothing of a store.
ALLOWED = {
    "storage": ("storage/*",),
    "engine": ("storage/*", "engine/*"),
    "importers": (*PUBLIC, "engine/work_beside.h", "importers/*"),
    "server": (*PUBLIC, "storage/utf8.h", "storage/json_depth.h", "storage/start_thread.h", "server/*"),
    "python": (*PUBLIC, "server/*", "python/*"),
    "tools": (*PUBLIC, "storage/start_thread.h", "importers/*", "server/*", "tools/*"),
    "bench": ("storage/*", "engine/*", "importers/*", "server/*", "tools/*", "bench/*", "tests/*"),
    "tests": ("storage/*", "engine/*", "importers/*", "server/*", "tools/*", "tests/*"),
}

# Third-party headers, and the only files that include them, beside tests.
THIRD_PARTY = {
    "hnswlib/*": (),
    "Eigen/*": ("engine/bit_projection.cc",),
    "sqlite3.h": (
        "storage/sqlite.cc",
        "storage/checked_vfs.cc",
        "storage/database_file.cc",
        "storage/regex_function.cc",
    ),
    "xsimd/*": ("engine/kernels_*",),
    "immintrin.h": ("engine/kernels_*",),
    "arm_neon.h": ("engine/kernels_neon.cc",),
    "hiredis/*": ("importers/redis_client.cc",),
    "openssl/*": ("importers/redis_client.cc", "server/auth.cc", "server/http_server.cc"),
    "boost/*": ("server/http_server.cc", "server/http_session.cc", "server/http_exchange.*"),
    "prometheus/*": ("server/metrics.cc",),
    "re2/*": ("storage/regex_function.cc", "storage/filter.cc"),
    "roaring/*": ("storage/row_set.cc",),
    "zstd.h": ("storage/compression.cc",),
    "xxhash.h": (
        *("storage/segment_format.cc", "storage/file_hash.cc", "storage/posting_*.cc"),
        "importers/bytes.cc",
    ),
    "nlohmann/*": (
        *("storage/*.cc", "importers/*.cc", "server/*.cc", "tools/*.cc", "bench/*"),
        "importers/redis_node.h",
        *("server/schema_json.h", "server/search_json.h", "server/search_rank.h"),
    ),
    "simdjson.h": ("server/json_body.h",),
    "yaml-cpp/*": ("tools/config.cc",),
    "curl/*": ("tools/*.cc",),
    "CLI/*": ("tools/*",),
    "nanobind/*": ("python/*",),
    "gtest/*": (),
    "benchmark/*": ("bench/*",),
}
# What is neither ours nor third-party: the C++ library, and the system.
SYSTEM = re.compile(r"(sys/|linux/|arpa/|netinet/)?[a-z_0-9]+(\.h)?$")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def sources(*suffixes: str) -> list[pathlib.Path]:
    return [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and path.is_file()
    ]


def name_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def includes(path: pathlib.Path) -> list[tuple[str, str]]:
    """(kind, name) of each include line; kind is `<` or `"`."""
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def violations_of(name: str, lines: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the include lines of the file `name`."""
    found = []
    allowed = ALLOWED[name.split("/")[0]]
    for kind, header in lines:
        own = header.split("/")[0] in FOLDERS and "/" in header
        third_party = [
            files for pattern, files in THIRD_PARTY.items() if fnmatch.fnmatchcase(header, pattern)
        ]
        if own and kind == "<":
            found.append(f"{name}: <{header}> is ours and wants quotes")
        elif own and not matches(header, allowed):
            found.append(f"{name}: may not include {header}")
        elif third_party and not matches(name, (*third_party[0], "tests/*")):
            found.append(f"{name}: {header} may only be included by {', '.join(third_party[0]) or 'tests'}")
        elif kind == '"' and not own:
            found.append(f'{name}: "{header}" does not begin at the repository root')
        elif not own and not third_party and not SYSTEM.match(header):
            found.append(f"{name}: <{header}> is not in the list of third-party headers")
    return found


def test_include_directions():
    files = [path for path in sources(".h", ".cc") if "install/consumer" not in name_of(path)]
    assert len(files) > 40
    found = [line for path in files for line in violations_of(name_of(path), includes(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("storage/segment.cc", ('"', "engine/codes.h")),
        ("importers/redis_source.cc", ('"', "engine/search.h")),
        ("importers/redis_source.cc", ('"', "storage/sqlite.h")),
        ("engine/store.cc", ('"', "importers/bytes.h")),
        ("engine/search.cc", ("<", "hnswlib/hnswlib.h")),
        ("engine/search.cc", ("<", "immintrin.h")),
        ("engine/search.cc", ("<", "arm_neon.h")),
        ("tools/query.cc", ('"', "segment.h")),
        ("tools/query.cc", ("<", "boost/asio.hpp")),
        ("storage/file.h", ("<", "nlohmann/json.hpp")),
    ],
)
def test_the_check_sees_each_kind_of_violation(name, line):
    assert len(violations_of(name, [line])) == 1


def test_public_headers_need_nothing_else():
    for name in PUBLIC:
        for kind, header in includes(ROOT / name):
            assert (
                kind == "<" or header in PUBLIC
            ), f"{name} includes {header}, which is not installed"


def test_every_source_file_names_its_licence():
    files = sources(".h", ".cc", ".py", ".sh", ".cmake") + sorted(ROOT.rglob("CMakeLists.txt"))
    files = [path for path in files if "build" not in path.relative_to(ROOT).parts]
    for path in files:
        head = path.read_text(encoding="utf-8").splitlines()[:2]
        assert any("SPDX-License-Identifier: Apache-2.0" in line for line in head), name_of(path)


def test_no_source_file_is_unmarked_work():
    for path in sources(".h", ".cc", ".py"):
        if path.name == "test_includes.py":
            continue
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")), name_of(
            path
        )
