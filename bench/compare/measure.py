# SPDX-License-Identifier: Apache-2.0
"""Measuring: latencies, memory, the page cache, and how a sweep goes on. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Optional

import numpy as np

Point = dict[str, Any]


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95, p99 and mean in microseconds."""
    values = np.array(seconds) * 1e6
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50_us": p50, "p95_us": p95, "p99_us": p99, "mean_us": float(values.mean())}


def ask_each(
    ask: Callable[[Any], Any], queries: list[Any], budget: float
) -> tuple[Any, Any, float]:
    """Asks one query after another: the answers, the seconds of each, and the CPU seconds of all.
    After `budget` seconds it ends early, having asked 20 at least."""
    answers, seconds = [], []
    begun_cpu = time.process_time()
    begun = time.perf_counter()
    for query in queries:
        before = time.perf_counter()
        answers.append(ask(query))
        after = time.perf_counter()
        seconds.append(after - before)
        if after - begun > budget and len(seconds) >= 20:
            break
    return answers, seconds, time.process_time() - begun_cpu


def until_recall(efs: list[int], measured: Callable[[int], Point], target: float) -> list[Point]:
    """A point an ef, up to the first that finds the target's part of the true rows."""
    points: list[Point] = []
    for ef in efs:
        points.append(measured(ef))
        if points[-1]["recall"] >= target:
            break
    return points


def filter_efs(efs: list[int], sweep: list[Point]) -> list[int]:
    """Where a filtered sweep begins: at what recall 0.95 took without a filter; four at most."""
    enough = first_at(sweep, 0.95)
    start = efs.index(enough["ef"]) if enough else len(sweep) - 1
    return efs[start : start + 4]


def first_at(sweep: list[Point], target: float) -> Optional[Point]:
    """The quickest point whose recall is at least the target."""
    enough = [point for point in sweep if point["recall"] >= target]
    return min(enough, key=lambda point: point["p50_us"], default=None)


def interpolated(sweep: list[Point], target: float) -> Optional[float]:
    """The p50 in microseconds at just the target's recall, linear between the points beside it;
    the first point's where even that finds more, None where none finds so much."""
    points = sorted(sweep, key=lambda point: point["recall"])
    for low, high in zip([None, *points], points):
        if high["recall"] < target:
            continue
        if low is None or high["recall"] == low["recall"]:
            return high["p50_us"]
        part = (target - low["recall"]) / (high["recall"] - low["recall"])
        return low["p50_us"] + part * (high["p50_us"] - low["p50_us"])
    return None


def memory(pid: Optional[int] = None) -> dict[str, float]:
    """Resident memory of a process in MB; file_mb holds mapped files and shared memory. Empty when
    the process has ended."""
    values = {"Rss": 0, "Anonymous": 0}
    try:
        with open(f"/proc/{pid or 'self'}/smaps_rollup", encoding="ascii") as lines:
            for line in lines:
                name = line.split(":")[0]
                if name in values:
                    values[name] = int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return {}
    anonymous, resident = values["Anonymous"] / 1024, values["Rss"] / 1024
    return {
        "anonymous_mb": anonymous,
        "file_mb": resident - anonymous,
        "resident_mb": resident,
    }


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Every file in the folder and below that has bytes."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(path for path in found if path.stat().st_size > 0)


def disk_bytes(folder: pathlib.Path) -> int:
    """What the files take on disk."""
    return sum(path.stat().st_blocks * 512 for path in files_of(folder))


def read_all(folder: pathlib.Path) -> None:
    """Has the files' pages in the page cache, as far as there is room."""
    for path in files_of(folder):
        with open(path, "rb", buffering=0) as file:
            while file.read(8 << 20):
                pass


def drop_cached(folder: pathlib.Path) -> float:
    """Asks the kernel to forget the files' pages, and returns the part that is still in memory: 0.0
    when all went, as good as 1.0 on a file system that lives in memory."""
    for path in files_of(folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)  # only clean pages can go
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
    return resident_part(folder)


def resident_part(folder: pathlib.Path) -> float:
    """The part of the files' pages that is in memory, by mincore()."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    pages = resident = 0
    for path in files_of(folder):
        mapped = np.memmap(path, dtype=np.uint8, mode="r")
        count = -(-mapped.size // mmap.PAGESIZE)
        states = np.zeros(count, np.uint8)
        if libc.mincore(mapped.ctypes.data, mapped.size, states.ctypes.data) != 0:
            raise OSError(ctypes.get_errno(), f"mincore of {path}")
        pages += count
        resident += int((states & 1).sum())
    return resident / pages if pages else 0.0


def _memory_groups() -> tuple[pathlib.Path, str]:
    """The folder of this process's memory cgroup, and the name of its limit's file."""
    root = pathlib.Path("/sys/fs/cgroup")
    with open("/proc/self/cgroup", encoding="ascii") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if "memory" in controllers.split(","):
                own = root / "memory" / path.lstrip("/")
                # A container may see its own group as the root.
                return (own if own.is_dir() else root / "memory"), "memory.limit_in_bytes"
    return root, "memory.max"


@contextlib.contextmanager
def memory_limit(megabytes: int) -> Iterator[Callable[[], None]]:
    """A cgroup with a limit; yields what a child calls before exec to be in it. Throws OSError
    where cgroups are not permitted."""
    parent, limit = _memory_groups()
    group = parent / f"vkb-compare-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(megabytes * 1024 * 1024))
        processes = group / "cgroup.procs"

        def enter() -> None:
            processes.write_text(str(os.getpid()))

        yield enter
    finally:
        for _ in range(100):  # the kernel may still be at work on what was in it
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)
