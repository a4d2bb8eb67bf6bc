"""From what is configured to libpq's connection parameters, without connecting.

Precedence: a setting (a variable PG_*, then PG*, then the file), the connection string, a service
file, and last the defaults, which are for this machine only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from influxops.plugin import is_this_machine

_DEFAULT_PORT = "5432"

#: They notice within a minute that the other machine is gone, and keep what is in between from
#: forgetting an idle connection.
_KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,  # in milliseconds
}

#: A URI in which it is clear where the password ends: one `@`, before any `/` and `?`.
_CLEAR_URI = re.compile(r"postgres(?:ql)?://[^@/?]*@?[^@]*", re.DOTALL)


class Parameters(Struct, frozen=True):
    """Where and as whom to connect."""

    keywords: dict[str, str]  # what libpq is given, but for the password
    text: str  # the same for people: `iot@db.example:5433/iotcloud`
    host: str | None  # the host, one of another machine first; None for a Unix socket
    is_default: bool  # whether no host is configured

    @property
    def keepalives(self) -> dict[str, int]:
        """What notices that the server is gone without a word; what is configured wins over it.

        Nothing where a service file is read: its own parts would lose against what is passed.
        """
        if "service" in self.keywords or os.environ.get("PGSERVICE"):
            return {}
        return dict(_KEEPALIVES)


def parse_dsn(dsn: str) -> dict[str, str]:
    """Return the keywords of a connection string or URI, its password among them.

    A ValueError repeats neither it nor what libpq says of it, because that may be the password.
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


def resolve(
    dsn: Mapping[str, str], given: Mapping[str, str], defaults: Mapping[str, str]
) -> Parameters:
    """Return where a database is.

    The keywords that are `given` win over those of the connection string; `defaults` count where
    nothing else says anything.
    """
    keywords = {name: value for name, value in dsn.items() if name != "password"}
    keywords |= given
    if "host" in given:
        keywords.pop("hostaddr", None)  # it was the address of the host that the DSN named
    service = keywords.get("service") or os.environ.get("PGSERVICE", "")
    address = keywords.get("hostaddr") or os.environ.get("PGHOSTADDR", "")
    is_default = not (service or address or "host" in keywords)
    if not service:
        # A service's own parts would lose against what is passed, so none is passed with one.
        keywords = {**defaults, **keywords}
    keywords.setdefault("application_name", "influxops")
    return Parameters(
        keywords=keywords,
        text=_text(keywords, service),
        host=_host(keywords, address, service),
        is_default=is_default,
    )


def libpq_has_credentials(keywords: Mapping[str, str]) -> bool:
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
    except (OSError, RuntimeError):  # not to be looked at, or no home directory
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
    hosts_and_ports = (
        name if port in ("", _DEFAULT_PORT) else f"{name}:{port}"
        for name, port in zip(hosts, ports, strict=False)
    )
    return f"{user}{','.join(hosts_and_ports)}{database}"
