# SPDX-License-Identifier: Apache-2.0
"""bench/compare: a small run with what is installed, and the arithmetic behind its figures."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pathlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from support.services import ROOT

np = pytest.importorskip("numpy")
ROWS = 2000


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports one of the program's modules."""
    monkeypatch.syspath_prepend(str(ROOT / "bench/compare"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def compare(vkb_binary: pathlib.Path, folder: pathlib.Path, *arguments: object) -> dict[str, Any]:
    """The JSON of a run on 2,000 vectors."""
    package = importlib.util.find_spec("vkb")
    if package is None or package.origin is None:
        pytest.skip("vkb's Python package is not installed: run `make package`")
    if not (folder / "base.npy").exists():
        chance = np.random.default_rng(7)
        np.save(folder / "base.npy", chance.standard_normal((ROWS, 24), dtype=np.float32))
        np.save(folder / "queries.npy", chance.standard_normal((100, 24), dtype=np.float32))
    command = [
        *(sys.executable, "-B", ROOT / "bench/compare", "--no-install", "--quick", "--force"),
        *("--vectors", folder / "base.npy", "--queries", folder / "queries.npy"),
        *("--vkb", vkb_binary, "--vkb-package", pathlib.Path(package.origin).parents[1]),
        *("--keep", folder / "keep", "--out", folder / "out", "--memory-limit", 0),
        *arguments,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "out" / f"compare_{ROWS}.json").read_text())


def test_a_run_has_all_figures_and_exact_search_finds_everything(vkb_binary, tmp_path):
    figures = compare(vkb_binary, tmp_path, "--peers", "vkb,vkb-program,hnswlib", "--efs", "10,200")
    assert {"cpu", "flags", "cores", "memory_gb", "kernel", "date"} <= set(figures["machine"])
    assert figures["settings"]["rows"] == ROWS
    assert figures["settings"]["dim"] == 24
    peers = figures["peers"]
    assert {"vkb", "vkb-program"} <= set(peers)
    assert ("hnswlib" in peers) != ("hnswlib" in figures["skipped"])
    for result in peers.values():
        assert result["failed"] == {}
        assert result["build"]["vectors_per_second"] > 0
        assert result["build"]["disk_mb"] > ROWS * 24 * 4 / 1e6
        for point in result["search"]["sweep"]:
            assert 0.5 < point["recall"] <= 1
            assert 0 < point["p50_us"] <= point["p95_us"] <= point["p99_us"]
        memory = result["load"]["memory"]
        assert 0 < memory["anonymous_mb"] < memory["resident_mb"]
        assert result["load"]["qps"].keys() == {"1", "2"}
        for label in ("warm", "dropped"):
            assert 0 < result[label]["open_ms"] < result[label]["first_answer_ms"]
    assert peers["vkb-program"]["search"]["exact"]["recall"] == 1.0
    for name in ("vkb", "vkb-program"):
        filters = peers[name]["search"]["filters"]
        assert list(filters) == ["f01", "f10", "f50"]
        assert all(points[-1]["recall"] >= 0.95 for points in filters.values())
    page = (tmp_path / "out" / f"compare_{ROWS}.md").read_text()
    assert all(f"| {name} |" in page for name in peers)

    again = compare(vkb_binary, tmp_path, "--peers", "vkb-program", "--efs", "10")
    assert again["peers"]["vkb-program"]["build"]["reused"] is True


def test_a_truth_of_other_rows_is_refused(vkb_binary, tmp_path):
    np.save(tmp_path / "truth.npy", np.full((100, 10), ROWS))
    with pytest.raises(AssertionError, match="does not fit these rows and queries"):
        compare(vkb_binary, tmp_path, "--peers", "vkb", "--truth", tmp_path / "truth.npy")


def test_the_exact_answers_are_those_of_a_full_sort(module, tmp_path):
    dataset = module("dataset")
    chance = np.random.default_rng(3)
    vectors = dataset.unit(chance.standard_normal((10_500, 8)))
    queries = dataset.unit(chance.standard_normal((20, 8)))
    np.save(tmp_path / "vectors.npy", vectors)
    np.save(tmp_path / "queries.npy", queries)
    data = dataset.Dataset(tmp_path, str(tmp_path / "vectors.npy"), 10_500, 16, 200)
    few = np.zeros(10_500, bool)
    few[[5, 9_999, 10_001]] = True
    found = dataset.exact_answers(data, {"all": None, "few": few}, {"all": 10, "few": 5})
    scores = queries @ vectors.T
    assert found["all"].tolist() == np.argsort(-scores, axis=1)[:, :10].tolist()
    scores[:, ~few] = -9
    assert found["few"][:, :3].tolist() == np.argsort(-scores, axis=1)[:, :3].tolist()
    assert (found["few"][:, 3:] == -1).all()


def test_recall_counts_the_true_rows_that_were_found(module):
    dataset = module("dataset")
    truth = np.array([[1, 2, 3, 4], [5, 6, -1, -1], [-1, -1, -1, -1]])
    assert dataset.recall([[1, 2, 9, 8], [6, 5], []], truth) == 0.75


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"n": {"$lt": 2}}, [0, 1]),
        ({"s": "b"}, [1]),
        ({"$and": [{"n": {"$gte": 1}}, {"s": {"$ne": "b"}}]}, [2]),
        ({"$or": [{"n": {"$eq": 0}}, {"s": {"$eq": "c"}}]}, [0, 2]),
    ],
)
def test_filters_match_as_in_chroma(module, where, rows):
    dataset = module("dataset")
    records = [{"n": 0, "s": "a"}, {"n": 1, "s": "b"}, {"n": 2, "s": "c"}, {}]
    assert [row for row, each in enumerate(records) if dataset.matches(where, each)] == rows


def test_latency_at_a_recall_lies_between_the_points_beside_it(module):
    measure = module("measure")
    sweep = [{"recall": r, "p50_us": t} for r, t in ((0.90, 100.0), (0.96, 160.0), (0.98, 300.0))]
    assert measure.interpolated(sweep, 0.95) == pytest.approx(150)
    assert measure.interpolated(sweep, 0.80) == 100
    assert measure.interpolated(sweep, 0.99) is None
    assert measure.first_at(sweep, 0.95)["p50_us"] == 160
    assert measure.first_at(sweep, 0.99) is None


def test_dropped_pages_are_counted_page_by_page(module, tmp_path):
    measure = module("measure")
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    assert measure.resident_part(tmp_path) == 1.0
    assert 0.0 <= measure.drop_cached(tmp_path) <= 1.0
    measure.read_all(tmp_path)
    assert measure.resident_part(tmp_path) == 1.0
    (tmp_path / "file").read_bytes()
    assert measure.resident_part(tmp_path) == 1.0
