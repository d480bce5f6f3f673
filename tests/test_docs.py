# SPDX-License-Identifier: Apache-2.0
"""The documentation keeps to what can be checked: links lead somewhere, verbs exist, sizes hold."""

import re

import pytest

from support.services import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_public_header_and_the_readme_stay_short():
    assert len((ROOT / "engine/vkb.h").read_text().splitlines()) <= 300
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_ci_runs_the_command_of_the_readme():
    command = (ROOT / ".ci/run").read_text().splitlines()[-1]
    assert f"\n    {command} " in (ROOT / "README.md").read_text()


def test_decision_records_have_their_parts():
    records = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [record.name[:4] for record in records] == [
        f"{i:04}" for i in range(1, len(records) + 1)
    ]
    for record in records:
        text = record.read_text(encoding="utf-8")
        for part in ("Context", "Choice", "Rejected", "Consequences"):
            assert f"\n## {part}\n" in text, f"{record.name} has no part '{part}'"
        assert len(text.splitlines()) <= 60, record.name


def test_the_program_has_the_verbs_of_its_page(vkb):
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"`vkb ([a-z]+(?:-[a-z]+)?)\b", page))
    assert {"import-redis", "query", "check"} <= verbs
    known = vkb("--help").stdout
    assert {verb for verb in verbs if not re.search(rf"^\s*{verb}\b", known, re.MULTILINE)} == set()
