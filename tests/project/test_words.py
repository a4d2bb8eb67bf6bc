"""What `make words` finds, and what it takes for a name."""

from __future__ import annotations

import pytest

from tests.words import LIST, found, phrases

LOOKED_FOR = [*phrases("# a comment\n\nin its hands -> claimed\nhands -> by\nof late -> recently")]


@pytest.mark.parametrize(
    "text",
    [
        "what it has in its hands",
        "In its hands: two",
        '    """It has three in its\n    hands."""',
        "    # what it has in\n    # its hands",
        "#: in its\n#: hands",
        "> a note: in\n> its hands",
        'say("what it has in its "\n    "hands")',
        'say("what it has in its"\n    f" hands")',
    ],
)
def test_a_phrase_is_found_where_a_text_goes_on_in_the_next_line(text: str) -> None:
    assert [instead for _, _, instead in found(text, LOOKED_FOR)] == ["claimed"]


@pytest.mark.parametrize(
    "text", ["in_its_hands()", "--of-late", "is-of late", "of lateness", "in its\n\nhands-on"]
)
def test_a_part_of_a_name_is_no_phrase(text: str) -> None:
    assert not list(found(text, LOOKED_FOR))


def test_phrases_come_in_the_order_of_the_text_with_their_lines() -> None:
    text = "one\nof late, in its\nhands\nof late"
    assert [(line, phrase) for line, phrase, _ in found(text, LOOKED_FOR)] == [
        (2, "of late"),
        (2, "in its hands"),
        (4, "of late"),
    ]


def test_each_phrase_of_the_list_says_what_to_write_instead() -> None:
    listed = [*phrases(LIST.read_text(encoding="utf-8"))]
    assert listed
    assert all(instead for _, instead in listed)
    assert len({pattern.pattern for pattern, _ in listed}) == len(listed)
