# SPDX-License-Identifier: Apache-2.0
"""Why a directory cannot be a store."""

from __future__ import annotations

import os

from . import errors


def explain_place(directory: str, error: errors.InternalError) -> None:
    """Raises what is wrong with the place of the directory, if that is why it cannot be opened."""
    directory = nearest = os.path.abspath(directory)
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    wrong = None
    if not os.path.isdir(nearest):
        below = "" if nearest == directory else f"{directory} cannot be made: "
        wrong = f"{below}{nearest} is a file; a store is a directory: give another path"
    elif not os.path.exists(os.path.join(directory, "vkb.sqlite3")) and not os.access(
        nearest, os.W_OK | os.X_OK, effective_ids=True
    ):
        wrong = (
            f"{directory} cannot be made a store: {nearest} is not writable for user "
            f"{os.geteuid()}; give another path, or change the permissions"
        )
    if wrong is not None:
        raise errors.raisable(errors.InternalError)(wrong) from error
