# SPDX-License-Identifier: Apache-2.0
"""The build backend: scikit-build-core, for wheels from a clone of the repository.

The C++ sources are beside this folder, not in it. So there is no sdist, and a copy of the folder
alone says what is missing.
"""

from __future__ import annotations

import pathlib
from typing import Any, Dict, NoReturn, Optional

from scikit_build_core import build
from scikit_build_core.build import *  # noqa: F403  # the hooks that are not written here

Settings = Optional[Dict[str, Any]]

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def _check_sources() -> None:
    if not (REPOSITORY / "server" / "chroma_service.h").exists():
        raise SystemExit(
            "The Python package is built from vkb's repository, whose C++ sources should be in "
            f"{REPOSITORY}. Clone it and run: pip install ./python"
        )


def prepare_metadata_for_build_wheel(folder: str, settings: Settings = None) -> str:
    """The first hook that pip calls."""
    _check_sources()
    return build.prepare_metadata_for_build_wheel(folder, settings)


def build_wheel(folder: str, settings: Settings = None, metadata: Optional[str] = None) -> str:
    """A wheel."""
    _check_sources()
    return build.build_wheel(folder, settings, metadata)


def get_requires_for_build_sdist(settings: Settings = None) -> NoReturn:
    """Refuses, before anything is installed for it."""
    raise SystemExit(
        "vkb has no sdist: the C++ sources are outside of python/. Build a wheel from a clone of "
        "the repository: pip wheel --no-deps ./python, or python -m build --wheel python"
    )


def build_sdist(folder: str, settings: Settings = None) -> NoReturn:
    """Refuses."""
    get_requires_for_build_sdist(settings)
