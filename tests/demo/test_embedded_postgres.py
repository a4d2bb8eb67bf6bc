"""The PostgreSQL that the demonstration and the tests start."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from influxops.plugin import InfluxopsError
from influxops_devserver.postgres import embedded_postgres
from tests.pg import standby_of


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that the server's account may enter, unlike pytest's where root runs it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_server_is_reached_by_its_environment_and_leaves_nothing_behind() -> None:
    with embedded_postgres() as server:
        environment = server.environment
        with psycopg.connect(
            host=environment["PG_HOST"],
            port=environment["PG_PORT"],
            user=environment["PG_USER"],
            password=environment["PG_PASS"],
            dbname=environment["PG_DB"],
        ) as connection:
            assert connection.info.user == "iot"
            assert connection.info.dbname == "iotcloud"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.conninfo(), password="wrong")
    assert not server.work_dir.exists()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(server.conninfo())


def test_where_the_folder_for_temporary_files_is_deep_servers_and_standbys_still_have_a_socket(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    deep = folder / ("deep" * 25)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with (
        embedded_postgres() as server,
        standby_of(server) as standby,
        psycopg.connect(standby.superuser_conninfo()) as connection,
    ):
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(InfluxopsError, match="unrecognized configuration parameter"):
        embedded_postgres(options={"no_such_parameter": "1"}).__enter__()
