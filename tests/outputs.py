"""Looks at all that tests and their processes print: no traceback, and no secret of theirs.

What `communicate` returns of any process is seen, and what pytest captures; a log that is written
to a file is given to `look`. A test that is about a traceback is marked `tracebacks`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from typing import Any

import pytest

#: Secrets of tests. Those that servers issue are added.
SECRETS = {"s3cr3t", "passw0rd", "very-secret", "hunter2"}
_TRACEBACK = "Traceback (most recent call last)"
#: What was printed since the last test.
_seen: list[str] = []
_communicate = subprocess.Popen.communicate


def look(text: str | bytes | None, *, verbose: bool = False) -> None:
    """Look at what a process has printed; a verbose one tells where an error was raised."""
    if text:
        shown = text if isinstance(text, str) else text.decode(errors="replace")
        _seen.append(shown.replace(_TRACEBACK, "") if verbose else shown)


def _looking(process: Any, *arguments: Any, **named: Any) -> Any:
    out, err = _communicate(process, *arguments, **named)
    given = process.args if isinstance(process.args, list | tuple) else ()
    for text in (out, err):
        look(text, verbose=not {"-v", "-vv"}.isdisjoint(given))
    return out, err


subprocess.Popen.communicate = _looking  # type: ignore[method-assign, assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that has printed what no output may have."""
    report = yield
    if report.when != "teardown":
        return report
    texts = [*_seen, *(text for _, text in report.sections)]
    _seen.clear()
    unwanted = SECRETS if item.get_closest_marker("tracebacks") else {*SECRETS, _TRACEBACK}
    for word in unwanted:
        at, text = next(((t.find(word), t) for t in texts if word in t), (0, ""))
        if text and report.passed:
            report.outcome = "failed"
            report.longrepr = f"its output holds {word}: … {text[max(at - 200, 0) : at + 3_000]}"
    return report
