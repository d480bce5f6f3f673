# SPDX-License-Identifier: Apache-2.0
"""The npm client over every method: js/client.test.mjs, on vkb and on the real server."""

from __future__ import annotations

import pathlib
import re

import pytest

from support import javascript


@pytest.mark.parametrize("engine", ["vkb", "chroma"])
def test_the_npm_client(
    request: pytest.FixtureRequest, engine: str, npm_packages: pathlib.Path, tmp_path: pathlib.Path
):
    server = request.getfixturevalue(f"{engine}_server")
    done = javascript.run(
        javascript.PACKAGES / "client.test.mjs", npm_packages, tmp_path,
        node=("--test", "--test-reporter=spec"), CHROMA_PORT=server.port, CHROMA_ENGINE=engine,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"pass (\d+)", done.stdout)[1]) >= 18, done.stdout
