"""What varies from run to run in texts, JSON documents and requests is replaced by fixed values."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import unquote

from tests.integration.proxy import Seen

#: Members of JSON documents that differ from run to run.
STEADY = {
    "id": "RUN",
    "run": "RUN",
    "made_by": "RUN",
    "started": "2026-01-01T00:00:00Z",
    "time": "2026-01-01T00:00:00Z",
    "seconds": 0.0,
    "user": "USER",
    "host": "HOST",
}
#: What else does, wherever it is.
VARIES = (
    (r"\x1b", r"\\e"),
    (r"\brun [0-9a-f]{12} by [^),\s]+", "run 0123456789ab by USER@HOST"),
    (r"\b(?!0{12})[0-9a-f]{12}\b", "0123456789ab"),
    (r"0123456789ab by [^),\s]+", "0123456789ab by USER@HOST"),
    (r"\bB in [\dhms ]+(?=;|$)", "B in 0s"),
    (r"\b\d\d:\d\d(:\d\d)? UTC", "00:00 UTC"),
    (r'(_seconds(":)?) [\d.e+]+', r"\1 0.0"),
    (r"\bthe oldest waits for \d+s", "the oldest waits for 0s"),
    (r"about [\d.]+ ?(s|min|h) at [\d,]+ rows/s", "about 1s at 1 rows/s"),
    (r"\bdiffer by \d+(\.\d+)? s\b", "differ by 0.0 s"),
    (r"influxops on [^:\s]+:", "influxops on HOST:"),
    (r"(by USER@HOST), \d+(\.\d+)? s\b", r"\1, 0.0 s"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "00000000-0000-0000-0000-000000000000"),
    (r"\b[0-9a-f]{32}\b", "0" * 32),
    (r"20(?!24)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", "2026-01-01T00:00:00"),
    (r"20(?!24)\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)?", "2026-01-01 00:00"),
    (r"\b20(?!24)\d\d-\d\d-\d\d\b", "2026-01-01"),
    (r"\bin \d+(\.\d+)? s\b", "in 0.0 s"),
    (r"(initialized=1i) \d+", r"\1 TIME"),
)


def steady(value: Any) -> Any:
    """Replace what varies in a JSON document."""
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, dict):
        return {
            key: STEADY[key] if key in STEADY and not isinstance(item, dict) else steady(item)
            for key, item in value.items()
        }
    return value


def trace(seen: Sequence[Seen]) -> Iterator[str]:
    """Give requests a line each; those of one kind that were in flight together, sorted."""

    def kind(request: Seen) -> tuple[str, str, bool]:
        return request.method, request.path.partition("?")[0], "no_sync=true" in request.path

    for _, group in groupby(seen, kind):
        lines = (f"{r.method} {unquote(r.path)} {r.body.decode()}".rstrip() for r in group)
        yield from (line.replace("\n", "\\n") + "\n" for line in sorted(lines))


def pretty(text: str, drop: Sequence[str] = ()) -> str:
    """Lay a JSON document out, a member a line, with what varies replaced."""
    if not text.strip():
        return text
    document = json.loads(text)
    if isinstance(document, dict):
        document = {key: value for key, value in document.items() if key not in drop}
    return json.dumps(steady(document), indent=1, ensure_ascii=False) + "\n"


def plain(text: str, names: Mapping[str, str]) -> str:
    """Replace what varies in a text, and what has a fixed name."""
    # What takes long is reported; whether it does depends on the machine.
    text = re.sub(r"^.*still waiting for .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^influxops: (comparing|copying|catching up) .*\n", "", text, flags=re.MULTILINE)
    for found, fixed in names.items():
        text = text.replace(found, fixed)
    for pattern, fixed in VARIES:
        text = re.sub(pattern, fixed, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def counted(seen: Sequence[Seen]) -> Iterator[str]:
    """Give each request once, sorted, with how often it came."""
    number = Counter(line for request in seen for line in trace([request]))
    yield from (f"{number[line]} × {line}" for line in sorted(number))


def kinds(seen: Sequence[Seen]) -> Iterator[str]:
    """Give each request once, sorted, whatever its number and whichever of a batch came last."""
    lines = {line.replace("&no_sync=true", "") for request in seen for line in trace([request])}
    yield from sorted(lines)
