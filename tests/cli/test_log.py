"""The command line's log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from influxops.cli.options import Common
from influxops.cli.session import start_log
from influxops.config.secrets import Redactor
from influxops.engine.engine import Engine

SECRET = 'p"w\\ü-secret'


@pytest.fixture
def engine() -> Iterator[Engine]:
    yield cast(Engine, SimpleNamespace(redact=Redactor([SECRET])))
    log = logging.getLogger("influxops")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
    log.propagate = True


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_reaches_the_log_whatever_its_characters(
    engine: Engine, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = start_log(Common(verbose=2, log_format=log_format), engine)
    try:
        raise ValueError(f"it holds {SECRET}")
    except ValueError:
        log.debug("a plugin broke: %s", SECRET, exc_info=True)
    written = capsys.readouterr().err
    assert written.count("[redacted]") >= 2
    assert SECRET not in written
    assert json.dumps(SECRET)[1:-1] not in written
    if log_format == "json":
        assert json.loads(written)["level"] == "DEBUG"
