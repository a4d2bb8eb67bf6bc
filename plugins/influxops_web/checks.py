"""What the service needs: `influxops serve` refuses to start without it, `doctor` tells it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from influxops.domain.finding import Check
from influxops.engine.engine import Engine
from influxops.errors import ConfigError, InfluxopsError, LedgerError
from influxops.plugin.cli import how_to_install
from influxops.runtime.context import RunContext
from influxops_web.db.connect import DatabaseLocation, connect, locate_database, other_databases
from influxops_web.db.schema import DeviceTable, database_identity, is_installed, read_tables

#: What the extra brings, by the names that it is imported as.
_EXTRA = (
    *("fastapi", "itsdangerous", "jinja2", "js_lib_bootstrap5", "psycopg_pool"),
    *("python_multipart", "uvicorn"),
)


def check_extra() -> None:
    """Raise unless what the service is made of is installed."""
    absent = [name for name in _EXTRA if find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"the service needs {', '.join(absent)}, not installed",
            hint=how_to_install("web"),
        )


def check_database(
    engine: Engine, context: RunContext
) -> tuple[DatabaseLocation, DeviceTable, bytes]:
    """Return where the service's tables are, what its devices are like, and the cookies' key."""
    location = locate_database(engine)
    others = [*other_databases(engine, location)]
    with connect(location, context) as connection:
        device_table, key = read_tables(connection, location)
        here = database_identity(connection)
    for name, settings in others:
        with connect(location, context, settings) as connection:
            if database_identity(connection) != here:
                raise ConfigError(
                    f"{name} is in another database than the service's tables ({location.text})",
                    hint="put them in one database: a tenant is noted in one transaction",
                )
    assert engine.ledger is not None, "its database was just looked at"
    try:
        engine.ledger.load_records((), context)
    except LedgerError as error:  # PostgreSQL is there, so it is not installed, or not ours
        raise ConfigError(error.message, hint=error.remedy) from error
    return location, device_table, key


def checks(engine: Engine, context: RunContext) -> Iterator[Check]:
    """Tell whether `influxops serve` would start, where the service is configured or installed."""
    try:
        if not _is_used(engine, context):
            return
        check_extra()
        location, *_ = check_database(engine, context)
    except InfluxopsError as error:
        yield Check("serve", False, error.message, error.remedy)
    else:
        yield Check("serve", True, f"{location.text}: its tables are as it needs them")


def _is_used(engine: Engine, context: RunContext) -> bool:
    if "web" in engine.config.authors:
        return True
    try:
        location = locate_database(engine)
    except ConfigError:
        return False  # a configuration without a service
    with connect(location, context) as connection:
        return is_installed(connection, location)
