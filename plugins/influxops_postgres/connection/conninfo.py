"""From settings to libpq's connection parameters, without connecting.

Who wins: a setting (a variable PG_*, then PG*, then the file), the connection string, a service
file, and last the defaults, which are for this machine only.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from influxops.plugin import ConfigError, Remedy, is_this_machine

if TYPE_CHECKING:
    from influxops_postgres.connection.settings import ConnectionSettings

#: libpq's keyword of each setting that is handed on.
_KEYWORDS = {
    "host": "host",
    "port": "port",
    "database": "dbname",
    "user": "user",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
}
_WITH_DEFAULTS = ("host", "port", "database", "user")
_DEFAULT_PASSWORD = "iot_dev"
_DEFAULT_PORT = "5432"


#: They notice within a minute that the other machine is gone, and keep what stands between from
#: forgetting an idle connection.
_KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,  # in milliseconds
}

#: A URI of which nobody can mistake where the password ends: one `@`, before any `/` and `?`.
_CLEAR_URI = re.compile(r"postgres(?:ql)?://[^@/?]*@?[^@]*", re.DOTALL)


class Parameters(Struct, frozen=True):
    """Where and as whom to connect."""

    keywords: dict[str, str]  # what libpq is given, but for the password
    text: str  # the same for people: `iot@db.example:5433/iotcloud`
    host: str | None  # the host, one of another machine first; None for a Unix socket
    is_default: bool  # whether nobody said which host


def parse_dsn(dsn: str) -> dict[str, str]:
    """Return the keywords of a connection string or URI.

    A URI that libpq may understand in another way than its author is refused: a `/` or `@` in a
    password makes the rest of it a part of the host's or the database's name, which are shown.

    Raises:
        ValueError: When it is none. The message does not repeat it, nor what libpq says of it,
            because that may be the password.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if "://" in dsn and dsn.startswith("postgres") and _CLEAR_URI.fullmatch(dsn) is None:
        raise ValueError(
            "no clear connection string: it has an `@` after another `@`, a `/` or a `?`; write "
            "those of the user and the password as %40, %2F and %3F"
        )
    try:
        found = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    except psycopg.Error:
        raise ValueError(_NO_DSN) from None
    if not re.fullmatch(r"[0-9,]*", found.get("port", "")):
        raise ValueError(f"{_NO_DSN}; its port is no number")
    return found


_NO_DSN = (
    "no connection string: write postgresql://user@host:port/database, or host=… dbname=… user=…"
)


def resolve(settings: ConnectionSettings) -> Parameters:
    """Return where a database is.

    Raises:
        ConfigError: When a secret connection string cannot be read or understood.
    """
    keywords = dsn_keywords(settings)
    keywords.pop("password", None)
    for name, keyword in _KEYWORDS.items():
        if name in settings.given and getattr(settings, name) is not None:
            keywords[keyword] = str(getattr(settings, name))
    if "host" in settings.given:
        keywords.pop("hostaddr", None)  # it was the address of the host that the DSN named
    service = keywords.get("service") or os.environ.get("PGSERVICE", "")
    address = keywords.get("hostaddr") or os.environ.get("PGHOSTADDR", "")
    is_default = not (service or address or "host" in keywords)
    if not service:
        # A service's own parts would lose against what is passed, so none is passed with one.
        for name in _WITH_DEFAULTS:
            keywords.setdefault(_KEYWORDS[name], str(getattr(settings, name)))
    keywords.setdefault("application_name", "influxops")
    return Parameters(
        keywords=keywords,
        text=_text(keywords, service),
        host=_host(keywords, address, service),
        is_default=is_default,
    )


def keepalives(parameters: Parameters) -> dict[str, int]:
    """Return what notices that the server is gone without a word; what is configured wins over it.

    Nothing where a service file is read: its own parts would lose against what is passed.
    """
    if "service" in parameters.keywords or os.environ.get("PGSERVICE"):
        return {}
    return dict(_KEEPALIVES)


def password(settings: ConnectionSettings, parameters: Parameters) -> str | None:
    """Return the password, read at the last moment.

    Args:
        settings: The section's settings.
        parameters: What `resolve` made of them.

    Returns:
        What to hand to libpq; None where libpq finds one by itself, or needs none.

    Raises:
        ConfigError: When it cannot be read, or when the default password would go to another
            machine.
    """
    if settings.password is not None:
        return settings.password.reveal()
    given = dsn_keywords(settings).get("password")
    if given:
        return given
    if _libpq_has_credentials(parameters.keywords):
        return None
    if parameters.host is not None and not is_this_machine(parameters.host):
        raise ConfigError(
            f"the {settings.what_is_there} is on another machine ({parameters.host}), and the "
            "default password is for this machine only",
            hint=Remedy.setting(
                "password",
                "check the name of the host; if it is right, set {}, or give libpq a password "
                "file or a client certificate",
            ),
        )
    return _DEFAULT_PASSWORD


def check_password(settings: ConnectionSettings, section: str) -> None:
    """Refuse what cannot work before anything is tried.

    Args:
        settings: The section's settings.
        section: What it is called in a message: `source registry`.

    Raises:
        ConfigError: As `password` does.
    """
    try:
        password(settings, resolve(settings))
    except ConfigError as error:
        raise ConfigError(f"{section}: {error.message}", hint=error.remedy) from None


def dsn_keywords(settings: ConnectionSettings) -> dict[str, str]:
    """Return the keywords of the connection string, its password among them; none without one.

    Raises:
        ConfigError: When it is secret, and cannot be read or understood.
    """
    if settings.dsn is None:
        return {}
    if isinstance(settings.dsn, str):
        return parse_dsn(settings.dsn)
    try:
        return parse_dsn(settings.dsn.reveal().strip())
    except ValueError as error:
        raise ConfigError(f"the {settings.dsn.origin} holds {error}") from None


def _libpq_has_credentials(keywords: dict[str, str]) -> bool:
    """Return whether libpq would find a password or a certificate by itself."""
    variables = ("PGPASSWORD", "PGSERVICE", "PGSSLCERT")
    if any(os.environ.get(name) for name in variables):
        return True
    if {"service", "sslcert"} & keywords.keys():
        return True
    passfile = keywords.get("passfile") or os.environ.get("PGPASSFILE") or "~/.pgpass"
    return any(_exists(path) for path in (passfile, "~/.postgresql/postgresql.crt"))


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # not to be looked at, or nobody's home
        return False


def _host(keywords: dict[str, str], address: str, service: str) -> str | None:
    if address:
        hosts = address.split(",")
    elif "host" in keywords:
        hosts = keywords["host"].split(",")
    else:
        return service  # only libpq knows which host that is: taken for another machine
    remote = [host for host in hosts if not is_this_machine(host)]
    host = (remote or hosts)[0]
    return None if host.startswith(("/", "@")) else host


def _text(keywords: dict[str, str], service: str) -> str:
    user = f"{keywords['user']}@" if "user" in keywords else ""
    database = f"/{keywords['dbname']}" if "dbname" in keywords else ""
    host = keywords.get("host") or keywords.get("hostaddr") or f"service {service}"
    hosts = [f"[{name}]" if ":" in name else name for name in host.split(",")]
    ports = keywords.get("port", _DEFAULT_PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    places = (
        name if port in ("", _DEFAULT_PORT) else f"{name}:{port}"
        for name, port in zip(hosts, ports, strict=False)
    )
    return f"{user}{','.join(places)}{database}"
