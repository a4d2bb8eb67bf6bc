"""What the configuration says of a registry, and of a ledger, in PostgreSQL."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from influxops.plugin import (
    ConfigError,
    Context,
    LedgerSettings,
    Location,
    PluginSettings,
    Secret,
    SettingError,
    SourceSettings,
    setting,
)

if TYPE_CHECKING:
    import psycopg

_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_TABLE = re.compile(rf"({_PART})(?:\.({_PART}))?")
#: The settings that a query of one's own takes the place of.
_DEFAULT_QUERY = ("table", "column", "where")
#: The most seconds that PostgreSQL's statement_timeout takes.
LONGEST_STATEMENT = 2_147_483
#: Seconds beyond `statement_timeout` after which a server that says nothing is given up.
_SLACK = 5.0
#: The most bytes of a name in PostgreSQL; it cuts off what is longer.
_LONGEST_NAME = 63


def _parse_dsn(value: Secret | str) -> Secret | str:
    if isinstance(value, str):
        from influxops_postgres.connection.conninfo import parse_dsn

        if {"password", "sslpassword"} & parse_dsn(value).keys():
            raise ValueError(
                "a connection string with a password is never written here, only where it is: "
                "`env`, the name of a variable, or `file`, a path; or leave the password out and "
                "set `password`"
            )
    return value


def _parse_table(value: str) -> str:
    if _TABLE.fullmatch(value) is None:
        raise ValueError(
            'no name of a table: write table, schema.table, or "a name with a . in it" in '
            "double quotes"
        )
    return value


class ConnectionSettings(PluginSettings):
    """How to reach a database in PostgreSQL.

    A part that is set on its own wins over the same part of `dsn`; what neither says is left to
    libpq, its variables and its service and password files.
    """

    location_variable: ClassVar[str] = "PG_HOST"
    #: What is there, for messages.
    what_is_there: ClassVar[str] = "database"

    dsn: Secret | str | None = setting(
        None,
        description="A connection string or URI without a password, or a secret reference to one "
        "that may have it; `host` and the others win over its parts. In a URI, `@`, `/` and `?` "
        "of a password are written %40, %2F and %3F.",
        env=("PG_DSN",),
        parse=_parse_dsn,
    )
    host: str = setting(
        "localhost",
        description="Host name, address, or the folder of a Unix socket.",
        env=("PG_HOST", "PGHOST"),
        min_length=1,
    )
    port: int = setting(5432, description="TCP port.", env=("PG_PORT", "PGPORT"), ge=1, le=65535)
    database: str = setting(
        "iotcloud", description="Database.", env=("PG_DB", "PGDATABASE"), min_length=1
    )
    user: str = setting("iot", description="User.", env=("PG_USER", "PGUSER"), min_length=1)
    password: Secret | None = setting(
        None,
        description="Password; left out: what libpq finds (a password file, a service, a client "
        "certificate), else the default password `iot_dev`, which is sent to this machine only.",
        env=("PG_PASS", "PGPASSWORD"),
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = (
        setting(
            None,
            description="How much TLS is insisted on; `verify-full` is what protects.",
            env=("PGSSLMODE",),
        )
    )
    sslrootcert: str | None = setting(
        None,
        description="File of the authorities to trust, or `system`.",
        env=("PGSSLROOTCERT",),
    )
    sslcert: str | None = setting(
        None, description="File of the client certificate.", env=("PGSSLCERT",)
    )
    sslkey: str | None = setting(
        None, description="File of the client certificate's key.", env=("PGSSLKEY",)
    )
    connect_timeout: float = setting(
        5.0,
        description="Seconds to wait for each address of the server, at least 2; 0 for libpq's "
        "default.",
        env=("PGCONNECT_TIMEOUT",),
        ge=0,
        le=LONGEST_STATEMENT,
    )
    statement_timeout: float = setting(
        30.0,
        description="Seconds that one query may take; 0 for no limit. Five seconds later a server "
        "that says nothing, or a pooler without a free connection, is given up.",
        ge=0,
        le=LONGEST_STATEMENT,
    )

    @property
    def longest_wait(self) -> float | None:
        """The seconds that an answer may take; None for no limit."""
        return self.statement_timeout + _SLACK if self.statement_timeout else None

    def keywords(self) -> dict[str, Any]:
        """Return what psycopg takes to connect, the password included.

        Raises:
            ConfigError: When a secret cannot be read.
        """
        from influxops_postgres.connection.conninfo import keepalives, password, resolve

        parameters = resolve(self)
        keywords: dict[str, Any] = {
            **keepalives(parameters),
            **parameters.keywords,
            "client_encoding": "UTF8",
        }
        secret = password(self, parameters)
        if secret is not None:
            keywords["password"] = secret
        return keywords

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret, and the password that is part of a secret connection string."""
        yield from super().secrets()
        if isinstance(self.dsn, Secret):
            from influxops_postgres.connection.conninfo import dsn_keywords

            with contextlib.suppress(ConfigError):  # the string itself is missing or no good
                for name in {"password", "sslpassword"} & (keywords := dsn_keywords(self)).keys():
                    yield Secret.given(keywords[name], f"the password of the {self.dsn.origin}")


class PostgresSettings(ConnectionSettings, SourceSettings):
    """A registry in PostgreSQL: how to reach it, and where its tenants are."""

    what_is_there: ClassVar[str] = "registry"

    lock: str = setting(
        "default",
        description="The name of the lock that keeps runs on one registry database apart, whatever "
        "they read of it. Give registries that share a database and have nothing to do with each "
        "other different names.",
        min_length=1,
    )
    lock_timeout: float = setting(
        10.0, description="Seconds to wait for another run on the same registry.", ge=0
    )
    table: str = setting(
        "device_registry",
        description="Table or view with the tenants, as it is spelt in the database; with "
        "its schema if that is not searched (`iot.device_registry`). A name that has a dot in it "
        "is written in double quotes.",
        parse=_parse_table,
    )
    column: str = setting(
        "tenant_id",
        description="Column with the tenant ids, as it is spelt in the database.",
        min_length=1,
    )
    where: str | None = setting(
        None,
        description="An SQL condition on the table's rows, which you write and which is sent as "
        "it is: `deleted_at IS NULL`.",
        min_length=1,
    )
    query: str | None = setting(
        None,
        description="A SELECT of your own in place of table, column and where. Its column "
        "`tenant_id` is the id; the columns `database`, `retention` and `target` are the tenant's "
        "attributes, NULL meaning the default. A retention may be an `interval` of days and less; "
        "months have no fixed length.",
        min_length=1,
    )

    def check(self) -> None:
        """Refuse a query beside what it takes the place of.

        Raises:
            SettingError: When there is one.
        """
        declared = self.declared()
        given = [
            f"`{name}`" for name in _DEFAULT_QUERY if getattr(self, name) != declared[name].default
        ]
        if self.query is not None and given:
            raise SettingError(
                f"it excludes {' and '.join(given)}: a query of your own says itself what is read",
                "query",
            )

    def connect(self, context: Context) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Connect for as long as the block and the run last; what the block runs is committed.

        Raises:
            SourceError: When that fails; the message says why.
            Interrupted: When the run is over.
        """
        from influxops_postgres.connection.connection import connected

        return connected(self, context)

    @property
    def gives_ids_only(self) -> bool:
        """Whether a tenant of it has no attributes: those come from a query alone."""
        return self.query is None

    @property
    def table_parts(self) -> tuple[str, ...]:
        """The table's name, after that of its schema if one is given; unquoted."""
        match = _TABLE.fullmatch(self.table)
        assert match is not None, "parsing has seen to it"
        return tuple(
            part[1:-1].replace('""', '"') if part.startswith('"') else part
            for part in match.groups()
            if part is not None
        )

    @property
    def what(self) -> str:
        """What is read, in a word or two."""
        return "own query" if self.query is not None else f"{self.table}.{self.column}"

    def location(self) -> Location:
        """Return where the registry is: `iot@db.example/iotcloud (device_registry.tenant_id)`.

        Raises:
            ConfigError: When a connection string that is secret cannot be read.
        """
        from influxops_postgres.connection.conninfo import resolve

        parameters = resolve(self)
        return Location(
            text=f"{parameters.text} ({self.what})",
            host=parameters.host,
            is_default=parameters.is_default,
            subject=self.table if self.query is None else "",
        )


def _parse_schema(value: str) -> str:
    if "\0" in value or len(value.encode()) > _LONGEST_NAME:
        raise ValueError(f"no name of a schema: it has at most {_LONGEST_NAME} bytes")
    if {"$", "%"}.intersection(value):
        raise ValueError("no name of a schema that influxops makes: it has a $ or a %")
    if value.startswith("pg_") or value == "information_schema":
        raise ValueError("this name is PostgreSQL's own; choose another one")
    return value


class PostgresLedgerSettings(ConnectionSettings, LedgerSettings):
    """A ledger in PostgreSQL: how to reach it, and which schema it has."""

    what_is_there: ClassVar[str] = "ledger"
    place: ClassVar[tuple[str, ...]] = ("dsn", "host")

    schema: str = setting(
        "influxops",
        description="The schema that holds the ledger's tables and nothing else; "
        "`influxops ledger install` makes it.",
        min_length=1,
        parse=_parse_schema,
    )

    def location(self) -> Location:
        """Return where the ledger is: `iot@db.example/iotcloud (schema influxops)`.

        Raises:
            ConfigError: When a connection string that is secret cannot be read.
        """
        from influxops_postgres.connection.conninfo import resolve

        parameters = resolve(self)
        return Location(
            text=f"{parameters.text} (schema {self.schema})",
            host=parameters.host,
            is_default=parameters.is_default,
            subject=self.schema,
        )

    def connect(self, context: Context) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Connect for as long as the block and the run last; what the block runs is committed.

        Raises:
            LedgerError: When that fails; the message says why.
            Interrupted: When the run is over.
        """
        from influxops_postgres.ledger.transaction import connected

        return connected(self, context)
