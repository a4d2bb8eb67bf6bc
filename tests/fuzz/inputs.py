"""What tests of input share: texts of every kind, JSON of any shape, examples with a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

#: What parsers stumble over.
_PIECES = (
    b"\x00", b"\n", b"\r\n", b"\t", b" ", b'"', b"'", b"\\", b"\\\\", b",", b"=", b":", b"#", b"-",
    b"{", b"}", b"[", b"]", b"&", b"*", b"!", b"|", b">", b"%", b"\xff", b"\xc3", b"\xc2\xb2",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"null", b"true", b"NaN", b"1e999", b"-0",
    b"9" * 5_000, b"[" * 5_000, b"2001-02-30", b"0o9", b"\\ud800",
)  # fmt: skip
#: Text as JSON may have it, lone halves of characters included.
texts = st.text(st.characters(), max_size=40)
#: Text that UTF-8 can hold.
utf8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
#: Any JSON.
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def broken(draw: st.DrawFn, examples: Sequence[bytes]) -> bytes:
    """Return an example in which some bytes were taken out, put in or doubled."""
    data = draw(st.sampled_from(examples))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        new = draw(st.sampled_from([b"", data[start:end] * 2, *_PIECES]) | st.binary(max_size=4))
        data = data[:start] + new + data[end:]
    return data


def rows(*names: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows that have some of these columns, with values of any kind."""
    row = st.dictionaries(st.sampled_from(names) | texts, documents, max_size=len(names))
    return st.lists(row, max_size=4)
