from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from influxops_devserver.testing import running_stand_in
from tests.devserver.api import Api

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.stand_in)


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """A stand-in without limits that all tests of a worker share."""
    with running_stand_in(
        max_databases=None, max_tables=None, wal_flush_interval="10ms"
    ) as stand_in:
        yield Api(stand_in.url)


@pytest.fixture
def database() -> str:
    """The name of a database that no other test uses."""
    return f"db_{os.getpid()}_{next(_numbers)}"
