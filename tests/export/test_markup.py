from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aligndiff.export.markup import folder_names, markdown_text

QUIETLY = settings(derandomize=True, deadline=None, database=None, max_examples=200)
# What a category may hold: any character but controls and halves of others.
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)


@QUIETLY
@given(st.lists(WORDS, unique=True, max_size=8))
def test_no_two_categories_share_a_folder(categories: list[str]) -> None:
    names = folder_names(categories)
    assert list(names) == categories
    assert len({name.casefold() for name in names.values()}) == len(categories)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names.values())


def test_folders_stay_readable_and_ask_for_no_order() -> None:
    assert folder_names(["great white shark", "魚"]) == {
        "great white shark": "great-white-shark",
        "魚": "entry",
    }
    both = folder_names(["Dog", "dog"])
    assert both == folder_names(["dog", "Dog"])
    assert all(name.startswith("dog-") for name in both.values())


@pytest.mark.parametrize(
    "words",
    [
        "plain words, 0.5 (min_iou) fish-1a2b",
        "[text](http://a.b) ![image](c.png) <http://d.e> https://f.g www.h.i",
        "**bold** _leaning_ `code` ~~gone~~ $x$ &amp; \\* <script>alert(1)</script>",
        "# heading | cell || `|` more",
        "\\| \\\\| \\",
    ],
)
def test_markdown_shows_the_words_and_nothing_else(words: str) -> None:
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = markdown.parse(f"| head |\n| --- |\n| {markdown_text(words)} |\n| next |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 3
    assert {part.type for part in cells[1].children} <= {"text", "text_special"}
    assert "".join(part.content for part in cells[1].children) == words


def test_markdown_stays_on_its_line_and_plain_words_stay_plain() -> None:
    assert markdown_text("a\n\n- b\x1b\t c") == "a - b\\x1b c".replace("\\", "\\\\")
    assert markdown_text("fish-1a2b_000001, 0.5") == "fish-1a2b_000001, 0.5"
