# SPDX-License-Identifier: Apache-2.0
"""The demo's chunks: nothing of a document is lost, sizes are as promised, places are right."""

import sys

from support import services

sys.path.insert(0, str(services.ROOT / "tools/demo"))

from chunk_docs import MAX_WORDS, chunk_project, sections, words  # noqa: E402

SAMPLE = f"""# Title

First paragraph.

## Part one
{"alpha " * 70}

{"beta " * 60}

```
# not a heading
code
```

## Part two
### Detail
{"gamma " * 90}
"""


def test_headings_and_lines():
    chunks = sections("a.md", SAMPLE)
    assert chunks[0].heading == "Title"
    assert chunks[0].line == 3
    assert chunks[-1].heading == "Title > Part two > Detail"
    assert SAMPLE.splitlines()[chunks[-1].line - 1].startswith("gamma")


def test_no_word_is_lost_and_order_stays():
    text = "\n".join(chunk.text for chunk in sections("a.md", SAMPLE))
    for word, count in {"alpha": 70, "beta": 60, "gamma": 90, "code": 1}.items():
        assert text.split().count(word) == count
    assert "# not a heading\ncode" in text
    assert text.index("alpha") < text.index("beta") < text.index("gamma")


def test_a_long_paragraph_is_cut():
    chunks = sections("a.md", "\n".join(["one line of six words here"] * 100))
    assert sum(words(chunk.text) for chunk in chunks) == 600
    assert all(words(chunk.text) <= MAX_WORDS for chunk in chunks)


def test_the_projects_own_documentation():
    chunks = chunk_project(services.ROOT)
    assert {"README.md", "docs/overview.md", "docs/cli.md"} <= {chunk.file for chunk in chunks}
    assert all(chunk.text.strip() for chunk in chunks)
    assert len(chunks) > 40
