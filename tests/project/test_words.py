"""What `make words` finds, and what it takes for a name."""

from __future__ import annotations

import pytest

from tests.words import LIST, found, phrases

LOOKED_FOR = [*phrases("# a comment\n\nup in arms -> angry\narms -> weapons\nat dusk -> later")]


@pytest.mark.parametrize(
    "text",
    [
        "what is up in arms",
        "Up in arms: two",
        '    """It is up in\n    arms."""',
        "    # what is up\n    # in arms",
        "#: up in\n#: arms",
        "> a note: up\n> in arms",
        'say("what is up in "\n    "arms")',
        'say("what is up in"\n    f" arms")',
    ],
)
def test_a_phrase_is_found_where_a_text_goes_on_in_the_next_line(text: str) -> None:
    assert [instead for _, _, instead in found(text, LOOKED_FOR)] == ["angry"]


@pytest.mark.parametrize(
    "text",
    ["up_in_arms()", "--at-dusk", "is-at dusk", "at dusk.hour", "at duskiness", "up in\n\narms-on"],
)
def test_a_part_of_a_name_is_no_phrase(text: str) -> None:
    assert not list(found(text, LOOKED_FOR))


def test_phrases_come_in_the_order_of_the_text_with_their_lines() -> None:
    text = "one\nat dusk, up in\narms\nat dusk"
    assert [(line, phrase) for line, phrase, _ in found(text, LOOKED_FOR)] == [
        (2, "at dusk"),
        (2, "up in arms"),
        (4, "at dusk"),
    ]


def test_each_phrase_of_the_list_says_what_to_write_instead() -> None:
    listed = [*phrases(LIST.read_text(encoding="utf-8"))]
    assert listed
    assert all(instead for _, instead in listed)
    assert len({pattern.pattern for pattern, _ in listed}) == len(listed)
