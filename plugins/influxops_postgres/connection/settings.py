"""How to reach a database in PostgreSQL: what every section that does shares."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from influxops.plugin import (
    ConfigError,
    Hint,
    InfluxopsError,
    Location,
    PluginSettings,
    Secret,
    is_this_machine,
    setting,
)
from influxops_postgres.connection.conninfo import (
    Parameters,
    libpq_has_credentials,
    parse_dsn,
    resolve,
)

#: The most seconds that PostgreSQL's statement_timeout takes.
LONGEST_STATEMENT = 2_147_483
#: Seconds beyond `statement_timeout` after which a server that says nothing is given up.
_SLACK = 5.0
#: Settings that are handed on to libpq, by its keywords; those first that have a default here.
_WITH_DEFAULTS = {"host": "host", "port": "port", "dbname": "database", "user": "user"}
_KEYWORDS = {
    **_WITH_DEFAULTS,
    **{name: name for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")},
}
_PORT = re.compile("[0-9]{1,5}")
_DEFAULT_PASSWORD = "iot_dev"  # for development  # noqa: S105
#: Keywords that are secret.
_SECRET = frozenset({"password", "sslpassword"})


def _parse_dsn(value: Secret | str) -> Secret | str:
    if isinstance(value, str) and _SECRET & parse_dsn(value).keys():
        raise ValueError(
            "a connection string with a password is never written here, only where it is: "
            "`env`, the name of a variable, or `file`, a path; or leave the password out and "
            "set `password`"
        )
    return value


def _parse_port(value: int | str) -> int | str:
    """Return a port, or one for each host as libpq takes them; an empty one is the default."""
    ports = str(value).replace(" ", "").split(",")
    if not all(not port or (_PORT.fullmatch(port) and 1 <= int(port) <= 65535) for port in ports):
        raise ValueError("write a number from 1 to 65535, or one for each host: 5432,5433")
    return int(ports[0]) if len(ports) == 1 and ports[0] else ",".join(ports)


class ConnectionSettings(PluginSettings):
    """How to reach a database in PostgreSQL.

    A part that is set on its own wins over the same part of `dsn`; what neither says is left to
    libpq, its variables and its service and password files.
    """

    location_variable: ClassVar[str] = "PG_HOST"
    place: ClassVar[tuple[str, ...]] = ("dsn", "host")
    connection: ClassVar[tuple[str, ...]] = (
        "dsn",
        *_WITH_DEFAULTS.values(),
        "password",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "connect_timeout",
    )
    #: What the database holds, for messages.
    content: ClassVar[str] = "database"
    #: What is raised where it cannot be reached.
    error: ClassVar[type[InfluxopsError]] = InfluxopsError

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
    port: int | str = setting(
        5432,
        description="TCP port; with several hosts, theirs, with commas in between.",
        env=("PG_PORT", "PGPORT"),
        parse=_parse_port,
    )
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

    def dsn_keywords(self) -> dict[str, str]:
        """Return the keywords of the connection string, its password among them."""
        if self.dsn is None:
            return {}
        if isinstance(self.dsn, str):
            return parse_dsn(self.dsn)
        try:
            return parse_dsn(self.dsn.reveal().strip())
        except ValueError as error:
            raise ConfigError(f"the {self.dsn.origin} holds {error}") from None

    def parameters(self) -> Parameters:
        """Return where the database is, and as whom it is reached."""
        given = {
            keyword: str(value)
            for keyword, name in _KEYWORDS.items()
            if name in self.given and (value := getattr(self, name)) is not None
        }
        defaults = {keyword: str(getattr(self, name)) for keyword, name in _WITH_DEFAULTS.items()}
        return resolve(self.dsn_keywords(), given, defaults)

    def keywords(self) -> dict[str, Any]:
        """Return what psycopg takes, the password included; refuse to send the default away."""
        parameters = self.parameters()
        password = self._password(parameters)
        return {
            **parameters.keepalives,
            **parameters.keywords,
            "client_encoding": "UTF8",
            **({} if password is None else {"password": password}),
        }

    def check_password(self, section: str) -> None:
        """Refuse what `keywords` would, before anything is tried, for `source registry` say."""
        try:
            self._password(self.parameters())
        except ConfigError as error:
            raise ConfigError(f"{section}: {error.message}", hint=error.remedy) from None

    def _password(self, parameters: Parameters) -> str | None:
        """Return the password, read at the last moment; None where libpq finds or needs none."""
        if self.password is not None:
            return self.password.reveal()
        given = self.dsn_keywords().get("password")
        if given:
            return given
        if libpq_has_credentials(parameters.keywords):
            return None
        if parameters.host is not None and not is_this_machine(parameters.host):
            raise ConfigError(
                f"the {self.content} is on another machine ({parameters.host}), and the default "
                "password is for this machine only",
                hint=Hint.setting(
                    "password",
                    "check the name of the host; if it is right, set {}, or give libpq a password "
                    "file or a client certificate",
                ),
            )
        return _DEFAULT_PASSWORD

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret, and the password that is part of a secret connection string."""
        yield from super().secrets()
        if isinstance(self.dsn, Secret):
            with contextlib.suppress(ConfigError):  # the string itself is missing or no good
                keywords = self.dsn_keywords()
                for name in _SECRET & keywords.keys():
                    yield Secret.given(keywords[name], f"the password of the {self.dsn.origin}")

    def location(self) -> Location:
        """Return where the section reads or writes, as `iot@db.example/iotcloud (schema x)`."""
        parameters = self.parameters()
        return Location(
            text=f"{parameters.text} ({self.what})",
            host=parameters.host,
            is_default=parameters.is_default,
            subject=self.subject,
        )

    @property
    def what(self) -> str:
        """What of the database the section is about, in a word or two."""
        return self.content

    @property
    def subject(self) -> str:
        """The table or schema that the section is about; empty where it is no single one."""
        return ""
