# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` leaves serves other programs: find_package(vkb), vkb/vkb.h, the tool."""

import os
import pathlib
import re
import subprocess

import pytest

from support.services import ROOT


def run(*command: object) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VKB_")}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def build_folder(vkb_binary: pathlib.Path) -> pathlib.Path:
    return vkb_binary.parents[1]


@pytest.fixture(scope="module")
def prefix(build_folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    if re.search(
        r"^VKB_SANITIZE:\w+=.+$", (build_folder / "CMakeCache.txt").read_text(), re.MULTILINE
    ):
        pytest.skip("a library with sanitizers is not for other programs")
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", build_folder, "--prefix", prefix)
    return prefix


def test_a_consumer_builds_and_runs(prefix, tmp_path):
    source = pathlib.Path(__file__).parent / "consumer"
    run(
        "cmake",
        "-S",
        source,
        "-B",
        tmp_path / "build",
        f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_BUILD_TYPE=Release",
    )
    run("cmake", "--build", tmp_path / "build")
    assert run(tmp_path / "build/consumer", tmp_path / "store") == "b second\n"


def test_only_public_headers_are_installed(prefix):
    headers = sorted(
        path.relative_to(prefix / "include").as_posix()
        for path in (prefix / "include").rglob("*.h")
    )
    assert headers == [
        "vkb/backup.h",
        "vkb/explanation.h",
        "vkb/storage/error.h",
        "vkb/storage/filter.h",
        "vkb/storage/value.h",
        "vkb/vkb.h",
    ]


def test_the_installed_program_runs(prefix):
    version = re.search(r"project\(vkb VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert version and version[1] in run(prefix / "bin/vkb", "--version")
