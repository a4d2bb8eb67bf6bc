from __future__ import annotations

import pytest

from influxops_devserver.storage.catalog import Kind
from influxops_devserver.write import line_protocol
from influxops_devserver.write.line_protocol import Line, LineError, parse_line, read_lines


def test_each_type_of_field_is_read_as_its_own() -> None:
    line = parse_line('t i=-3i,u=4u,f=1.5,whole=2,e=-1.5e3,s="x y",yes=T,no=false 12')
    assert line.fields == (
        ("i", Kind.INTEGER, -3),
        ("u", Kind.UINTEGER, 4),
        ("f", Kind.FLOAT, 1.5),
        ("whole", Kind.FLOAT, 2.0),
        ("e", Kind.FLOAT, -1500.0),
        ("s", Kind.STRING, "x y"),
        ("yes", Kind.BOOLEAN, True),
        ("no", Kind.BOOLEAN, False),
    )
    assert line.timestamp == 12


@pytest.mark.parametrize("word", ["t", "T", "true", "True", "TRUE"])
def test_every_spelling_of_true_is_true(word: str) -> None:
    assert parse_line(f"m v={word}").fields == (("v", Kind.BOOLEAN, True),)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            r"a\ b,c\,d=e\=f\ g v=1i",
            Line("a b", (("c,d", "e=f g"),), (("v", Kind.INTEGER, 1),), None),
        ),
        (r"m,k=a\b v=1i", Line("m", (("k", r"a\b"),), (("v", Kind.INTEGER, 1),), None)),
        (r"m,k=a\\b v=1i", Line("m", (("k", r"a\b"),), (("v", Kind.INTEGER, 1),), None)),
        (r"m f\=g=1i", Line("m", (), (("f=g", Kind.INTEGER, 1),), None)),
        (r'm s="a\"b\\c\d"', Line("m", (), (("s", Kind.STRING, 'a"b\\c\\d'),), None)),
        ("m,k=mün=chen v=1i -5", Line("m", (("k", "mün=chen"),), (("v", Kind.INTEGER, 1),), -5)),
        ("m  v=1i   7  ", Line("m", (), (("v", Kind.INTEGER, 1),), 7)),
    ],
)
def test_escapes_stand_for_what_they_escape(text: str, line: Line) -> None:
    assert parse_line(text) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("measurement", "Expected at least one space character, got end of input"),
        (",k=v f=1", "Invalid measurement was provided"),
        ("m,#", "Tag set malformed: could not find equals sign in `#`"),
        ("m,abcdefghijkl f=1", "Tag set malformed: could not find equals sign in `abcdefghij...`"),
        ("m,=v f=1", "Expected tag key, got `=v f=1`"),
        ("m,k= f=1", "Expected tag value, got ` f=1`"),
        ("m,k=v, f=1", "Expected tag key, got ` f=1`"),
        ("m this is wrong", "No fields were provided"),
        ('m s="never ends', "No fields were provided"),
        ("m v=1 soon", "Could not parse entire line. Found trailing content: ` soon`"),
        ("m v=1,w=", "Could not parse entire line. Found trailing content: `,w=`"),
        ("m v=1\r", "Could not parse entire line. Found trailing content: `\r`"),
        ("m v=9223372036854775808i", "Unable to parse integer value `9223372036854775808`"),
        (
            "m v=18446744073709551616u",
            "Unable to parse unsigned integer value `18446744073709551616`",
        ),
        (
            "m v=1 9223372036854775808",
            "Unable to parse timestamp value `9223372036854775808`",
        ),
        (
            "m,k=v\\\\ f=1",
            "Measurements, tag keys and values, and field keys may not end with a backslash",
        ),
        (f"m,k={'x' * 65_537} f=1", "String is greater than 64KB"),
    ],
)
def test_a_bad_line_is_refused_in_the_words_of_the_server(text: str, message: str) -> None:
    with pytest.raises(LineError) as refused:
        parse_line(text)
    assert str(refused.value) == message


def texts(body: str) -> list[str]:
    return [text for text, _ in read_lines(body)]


def test_lines_end_where_no_quote_and_no_escape_is_open() -> None:
    body = '# said "nothing\n\n  m s="two\nlines",t="x" 1\nm,k=a\\\nb v=1i\n\tn v=2i\n'
    assert texts(body) == ['m s="two\nlines",t="x" 1', "m,k=a\\\nb v=1i", "n v=2i"]


def test_a_quote_outside_of_a_field_value_does_not_swallow_lines() -> None:
    assert texts('m,k=" v=1i\nm,k=x v=2i') == ['m,k=" v=1i', "m,k=x v=2i"]


def test_each_line_is_parsed_or_has_the_reason_why_it_cannot_be() -> None:
    good, bad = read_lines("m v=1i 1\nm v=1 soon")
    assert good == ("m v=1i 1", parse_line("m v=1i 1"))
    assert bad[0] == "m v=1 soon"
    assert str(bad[1]) == "Could not parse entire line. Found trailing content: ` soon`"


def test_a_string_that_no_line_ends_is_refused_with_all_that_it_took() -> None:
    ((text, refusal),) = read_lines('m s="never\nends')
    assert (text, str(refusal)) == ('m s="never\nends', "No fields were provided")


def test_a_text_of_many_lines_is_parsed_at_its_begin_and_its_end_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[str] = []

    def counted(line: str) -> Line:
        parsed.append(line)
        return parse_line(line)

    monkeypatch.setattr(line_protocol, "parse_line", counted)
    text = 'm s="' + "x\n" * 1_000
    assert [line for _, line in read_lines(text + '" 7')] == [parse_line(text + '" 7')]
    assert len(parsed) == 2
    ((_, refused),) = read_lines(text)
    assert isinstance(refused, LineError)
    assert len(parsed) == 4


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    for line in (f"m v={'9' * 5_000}i", f"m v=1 {'9' * 5_000}"):
        with pytest.raises(LineError):
            parse_line(line)
