# SPDX-License-Identifier: Apache-2.0
"""The peers' Python environment, and the machine: what it is and whether it is quiet. Only the
standard library is needed."""

from __future__ import annotations

import datetime
import glob
import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "bench/requirements.txt"
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_vpopcntdq", "asimd")
# Without a tenth of a core taken by others, medians of microseconds repeat well.
BUSY_PERCENT = 10.0


def requirements() -> list[str]:
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def make_venv(folder: pathlib.Path) -> pathlib.Path:
    """The Python of an environment with the peers in it, made when it is not there or when the
    requirements have changed. What could not be installed stands in its failed.json."""
    python = folder / "bin/python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = folder / "stamp"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    # Debian's Python, which vkb's package is built for, where there is one.
    base = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    print(f"compare: installing the peers into {folder}", file=sys.stderr)
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    failed = {}
    for line in requirements():
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install",
                   "--prefer-binary", "--constraint", str(REQUIREMENTS), line]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
            reason = next((each for each in lines if "ERROR:" in each), lines[-1])
            failed[line.split("==")[0]] = reason
            print(f"compare: {line} could not be installed: {reason}", file=sys.stderr)
    (folder / "failed.json").write_text(json.dumps(failed))
    stamp.write_text(wanted)
    return python


def not_installed() -> dict[str, str]:
    """Packages that this environment lacks, with pip's reason."""
    path = pathlib.Path(sys.prefix) / "failed.json"
    return json.loads(path.read_text()) if path.exists() else {}


def vkb_package(given: str | None) -> pathlib.Path | None:
    """Where vkb's Python package lies: the folder given, else what `make package` leaves; None when
    it must be importable as it is."""
    if given:
        return pathlib.Path(given).resolve()
    found = glob.glob(str(ROOT / "build/venv/lib/python3*/site-packages/vkb"))
    return pathlib.Path(found[0]).parent if found else None


def link_vkb(package: pathlib.Path | None, folder: pathlib.Path) -> dict[str, str]:
    """Environment variables with which a process finds vkb, but nothing else that lies beside
    it."""
    if package is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vkb", "_vkb_chromadb.py"):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(package / name)
    return {"PYTHONPATH": str(folder)}


def _first(path: str, prefix: str) -> str:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(prefix):
                return line.split(":", 1)[1].strip()
    return ""


def _file_system(folder: pathlib.Path) -> str:
    done = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def machine(folder: pathlib.Path) -> dict[str, Any]:
    """CPU, memory, kernel, and the file system that holds the indexes."""
    flags = set((_first("/proc/cpuinfo", "flags") or _first("/proc/cpuinfo", "Features")).split())
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(_first("/proc/meminfo", "MemTotal").split()[0]) / 1024**2, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": _file_system(folder),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _cpu_seconds() -> dict[int, tuple[str, float]]:
    """Name and CPU seconds of each process."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = pathlib.Path(path).read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        numbers = text[text.rindex(")") + 2 :].split()
        found[int(path.split("/")[2])] = (name, (int(numbers[11]) + int(numbers[12])) / ticks)
    return found


def busy(seconds: float = 2.0) -> dict[str, Any]:
    """What other processes do: percent of one core over some seconds, and who takes the most. What
    another container does is not seen in /proc, but in the share that the host steals."""
    before, stolen = _cpu_seconds(), _steal()
    time.sleep(seconds)
    after, stolen = _cpu_seconds(), _steal() - stolen
    used = {
        pid: (name, (cpu - before.get(pid, (name, 0.0))[1]) / seconds * 100)
        for pid, (name, cpu) in after.items()
        if pid != os.getpid()
    }
    top = sorted(used.items(), key=lambda each: -each[1][1])[:3]
    percent = sum(share for _, share in used.values())
    return {
        "load": os.getloadavg()[0],
        "others_percent": round(percent, 1),
        "steal_percent": round(stolen / seconds * 100, 1),
        "top": [f"{name} ({pid}): {share:.0f} %" for pid, (name, share) in top if share >= 1],
        "quiet": percent < BUSY_PERCENT and stolen / seconds * 100 < BUSY_PERCENT,
    }


def _steal() -> float:
    with open("/proc/stat", encoding="ascii") as lines:
        return int(next(lines).split()[8]) / os.sysconf("SC_CLK_TCK")
