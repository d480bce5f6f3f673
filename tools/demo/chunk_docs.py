# SPDX-License-Identifier: Apache-2.0
"""Cuts Markdown files into chunks of some 100-180 words, along headings and paragraphs."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

MIN_WORDS = 100
MAX_WORDS = 180
HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
FENCE = re.compile(r"\s*(```|~~~)")


@dataclass
class Section:
    """A piece of a document. `heading` is the path to it, "Title > Part"; `line` counts from 1."""

    file: str
    heading: str
    line: int
    text: str


def words(text: str) -> int:
    return len(text.split())


def paragraphs(markdown: str) -> Iterator[tuple[str, int, str]]:
    """(heading path, first line, text) of each paragraph. A code block is one paragraph; a longer
    one is cut at line ends."""
    path: list[str] = []
    block: list[str] = []
    start = 1
    fence: str | None = None

    def finish() -> Iterator[tuple[str, int, str]]:
        text = "\n".join(block).strip("\n")
        block.clear()
        if text.strip():
            yield " > ".join(path), start, text

    for number, line in enumerate(markdown.splitlines(), 1):
        if fence is None and words("\n".join([*block, line])) > MAX_WORDS:
            yield from finish()
        marker = FENCE.match(line)
        if marker and fence is None:
            fence = marker[1]
        elif marker and marker[1] == fence:
            fence = None
        heading = HEADING.match(line) if fence is None else None
        if heading:
            yield from finish()
            level = len(heading[1])
            path[:] = [*path[: level - 1], heading[2]]
        elif line.strip() or fence:
            if not block:
                start = number
            block.append(line)
        else:
            yield from finish()
    yield from finish()


def sections(file: str, markdown: str) -> list[Section]:
    """Joins neighbouring paragraphs until a chunk has MIN_WORDS, keeps it under MAX_WORDS where a
    paragraph allows, and ends it early at a heading once it has half of MIN_WORDS. Each chunk
    begins with its heading, so that it can be understood (and found) alone."""
    result: list[Section] = []
    current: Section | None = None
    last = ""
    for heading, line, text in paragraphs(markdown):
        if current is not None:
            size = words(current.text)
            new_part = heading != current.heading
            full = size >= MIN_WORDS or size + words(text) > MAX_WORDS
            if full or (new_part and size >= MIN_WORDS // 2):
                result.append(current)
                current = None
        if current is None:
            current = Section(file, heading, line, f"{heading}\n\n{text}" if heading else text)
        else:
            moved = f"\n\n{heading.split(' > ')[-1]}" if heading != last else ""
            current.text += f"{moved}\n\n{text}"
        last = heading
    if current is not None:
        result.append(current)
    return result


def chunk_project(root: pathlib.Path) -> list[Section]:
    """The chunks of the project's own documentation."""
    files = [root / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    files += sorted((root / "docs").rglob("*.md"))
    found = []
    for file in files:
        found += sections(str(file.relative_to(root)), file.read_text(encoding="utf-8"))
    return found
