# SPDX-License-Identifier: Apache-2.0
"""Temporary directories that go with their process, however it ends.

Each holds a file `alive` that its process keeps locked. The kernel gives the lock up when the
process ends, also by a signal; then the next process that makes such a directory removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from typing import Iterator

PREFIX = "vkb-ephemeral-"
ALIVE = "alive"
# A directory without `alive` is one that is being made, unless it has been that for so long.
_MAKING_SECONDS = 600.0


class EphemeralDirectory:
    """A new temporary directory, removed by remove() or after the process has ended.

    A forked child holds the lock too, so what its parent left is removed once both have ended.
    """

    def __init__(self) -> None:
        """Removes the directories of dead processes first. OSError when none can be made."""
        _collect()
        self.path = tempfile.mkdtemp(prefix=PREFIX)
        self.store = os.path.join(self.path, "store")
        alive = os.path.join(self.path, ALIVE)
        making = alive + ".new"
        self._lock = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Locked before it has its name: an `alive` that is not locked always means a dead process.
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.rename(making, alive)

    def remove(self) -> None:
        """Removes the directory. To be called once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _collect() -> None:
    """Removes this user's directories of processes that have ended."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                # One that others remove at the same moment, or that cannot be read, stays.
                with contextlib.suppress(OSError), _dead(entry.path) as is_dead:
                    if is_dead:
                        shutil.rmtree(entry.path, ignore_errors=True)


@contextlib.contextmanager
def _dead(path: str) -> Iterator[bool]:
    """Whether nobody uses the directory any more; then nobody else finds it so inside the block.

    Raises: OSError, when it is none, a link to one, or gone.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(directory)
        if found.st_uid != os.geteuid():
            yield False
            return
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            alive = os.open(ALIVE, flags, dir_fd=directory)
        except FileNotFoundError:
            yield time.time() - found.st_mtime > _MAKING_SECONDS
            return
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is in use
            yield True
        finally:
            os.close(alive)
    finally:
        os.close(directory)
