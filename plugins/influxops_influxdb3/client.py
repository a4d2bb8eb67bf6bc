"""A client of InfluxDB 3's HTTP API: what influxops needs of it, typed.

The facts come from recorded exchanges with InfluxDB 3 Core 3.10. A client may be used from
several threads; it keeps connections alive and never follows a redirect.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from influxops import ConfigError, Run, __version__, format_duration
from influxops_influxdb3.answers import (
    Answer,
    Request,
    connection_error,
    read_answer,
    read_json,
)
from influxops_influxdb3.errors import NotInfluxDB3, Operation
from influxops_influxdb3.patience import BoundedRetry, BoundedTimeout, GaveUp
from influxops_influxdb3.settings import InfluxDB3Settings

#: More connections do not make the server faster: it does one change of its catalog at a time.
_CONNECTIONS = 4
_DATABASES = "/api/v3/configure/database"
_VERSION = re.compile(r"v?(\d+)\.")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Ping:
    """Who answers.

    Args:
        version: The server's version.
        edition: `Core`, `Enterprise`, or None where it does not say.
        process_id: What differs after a restart; None where it does not say.
        clock: The server's time, to the second; None where it does not say.
    """

    version: str
    edition: str | None
    process_id: str | None
    clock: datetime | None


class Client:
    """One InfluxDB 3 server.

    Every operation takes the run that it works for, whose deadline and cancellation bound it,
    and raises an `InfluxDBError` that says what failed and what to do, `ConfigError` where the
    token cannot be read, or `Interrupted`.

    Args:
        settings: Where it is, and how to get in.

    Raises:
        ConfigError: When certificates cannot be loaded.
    """

    def __init__(self, settings: InfluxDB3Settings) -> None:
        self._settings = settings
        self._uuid: str | None = None
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=_CONNECTIONS,
            ssl_context=_tls(settings) if settings.url.startswith("https:") else None,
        )

    @property
    def url(self) -> str:
        """Where the server is, without secrets."""
        return self._settings.url

    @property
    def cluster_uuid(self) -> str | None:
        """The identity of the server that answered last; every answer carries it."""
        with self._lock:
            return self._uuid

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._pool.clear()

    def ping(self, run: Run) -> Ping:
        """Ask who answers.

        Raises:
            NotInfluxDB3: When it is another product, or an older InfluxDB.
            AccessRefused: When even that wants a token.
        """
        request, answer = self._send(run, Operation.PING, "GET", "/ping")
        header = answer.headers.get("x-influxdb-version", "")
        body = read_json(answer, request) if answer.text.strip() else {}
        body = body if isinstance(body, dict) else {}
        version = header or str(body.get("version", ""))
        number = _VERSION.match(version)
        if number is None or int(number[1]) < 3:
            what = f"this is InfluxDB {version}" if number else "this is no InfluxDB"
            raise NotInfluxDB3(
                f"{what}; influxops needs InfluxDB 3",
                operation=Operation.PING,
                url=self.url,
                status=answer.status,
                hint="check the target's url (INFLUXDB_URL)",
            )
        product = str(body.get("product_name", ""))
        build = product.rpartition(" ")[2] if product.startswith("InfluxDB 3 ") else None
        process = body.get("process_id")
        return Ping(
            version=version,
            edition=answer.headers.get("x-influxdb-build") or build,
            process_id=str(process) if process else None,
            clock=_date(answer.headers.get("date")),
        )

    def databases(self, run: Run) -> list[str]:
        """List the names of the databases that the token may see, without the deleted ones."""
        request, answer = self._send(
            run, Operation.LIST, "GET", _DATABASES, query={"format": "json"}
        )
        rows = _rows(read_json(answer, request), request)
        return [str(row["iox::database"]) for row in rows if "iox::database" in row]

    def create(self, run: Run, database: str, retention: int | None = None) -> None:
        """Create a database.

        Args:
            run: The run.
            database: Its name.
            retention: Its retention period in seconds, None without one.

        Raises:
            AlreadyExists: When it is there, whatever its retention period.
            DatabaseLimit: When the server takes no further one.
        """
        document: dict[str, Any] = {"db": database}
        if retention is not None:
            document["retention_period"] = format_duration(retention)
        self._send(run, Operation.CREATE, "POST", _DATABASES, database=database, document=document)

    def set_retention(self, run: Run, database: str, retention: int) -> None:
        """Set a database's retention period.

        Args:
            run: The run.
            database: Its name.
            retention: The period in seconds.

        Raises:
            NotFound: When there is no such database.
        """
        self._send(
            run,
            Operation.SET_RETENTION,
            "PUT",
            _DATABASES,
            database=database,
            document={"db": database, "retention_period": format_duration(retention)},
        )

    def clear_retention(self, run: Run, database: str) -> None:
        """Let a database keep its data for ever.

        Raises:
            NotFound: When there is no such database.
        """
        self._send(
            run,
            Operation.CLEAR_RETENTION,
            "DELETE",
            f"{_DATABASES}/retention_period",
            database=database,
            query={"db": database},
        )

    def write(self, run: Run, database: str, lines: str, *, no_sync: bool = False) -> None:
        """Write line protocol; what is missing of database and tables is made.

        Args:
            run: The run.
            database: Where to.
            lines: Line protocol, times in nanoseconds.
            no_sync: Whether not to wait until it is durable. All that was written before an
                ordinary write is durable with it, in whatever database, as long as it is one
                and the same server process.

        Raises:
            DatabaseLimit: When the server takes no further database.
            TableLimit: When it takes no further table; the database has been made all the same.
        """
        query = {"db": database} | ({"no_sync": "true"} if no_sync else {})
        self._send(
            run,
            Operation.WRITE,
            "POST",
            "/api/v3/write_lp",
            database=database,
            query=query,
            body=lines.encode(),
            content_type="text/plain; charset=utf-8",
        )

    def query(
        self, run: Run, database: str, sql: str, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Ask in SQL.

        Args:
            run: The run.
            database: What to ask.
            sql: The query, with `$name` for each parameter.
            params: The parameters' values.

        Returns:
            One dictionary a row; null fields are left out.

        Raises:
            NotFound: When there is no such database.
            BadRequest: When there is no such table, or the query is wrong.
        """
        document: dict[str, Any] = {"db": database, "q": sql}
        if params:
            document["params"] = dict(params)
        request, answer = self._send(
            run,
            Operation.QUERY,
            "POST",
            "/api/v3/query_sql",
            database=database,
            document=document,
        )
        return _rows(read_json(answer, request), request)

    def tables(self, run: Run, database: str) -> list[str]:
        """List a database's tables.

        Raises:
            NotFound: When there is no such database.
        """
        rows = self.query(
            run,
            database,
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'iox' ORDER BY 1",
        )
        return [str(row["table_name"]) for row in rows if "table_name" in row]

    def delete(self, run: Run, database: str, *, hard_delete_at: datetime) -> None:
        """Delete a database: its name is free at once, its data stays for a while.

        Args:
            run: The run.
            database: Its name.
            hard_delete_at: When its data is to go; an aware datetime. The server takes a time
                that has passed, by its own clock, for "now".

        Raises:
            NotFound: When there is no such database.
        """
        at = hard_delete_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._send(
            run,
            Operation.DELETE,
            "DELETE",
            _DATABASES,
            database=database,
            query={"db": database, "hard_delete_at": at},
        )

    def _send(
        self,
        run: Run,
        operation: Operation,
        method: str,
        path: str,
        *,
        database: str | None = None,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
    ) -> tuple[Request, Answer]:
        """Send one request, again where that may help, and give the good answer."""
        settings = self._settings
        token = self._token()
        request = Request(
            operation=operation,
            url=settings.url,
            database=database,
            token_origin=settings.token.origin if settings.token else "",
            hide=lambda text: text.replace(token, "[redacted]") if token else text,
        )
        headers = {"User-Agent": f"influxops/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if content_type:
            headers["Content-Type"] = content_type
        try:
            response = self._pool.request(
                method,
                f"{settings.url}{path}" + (f"?{urlencode(query)}" if query else ""),
                body=body,
                json=document,
                headers=headers,
                redirect=False,
                retries=BoundedRetry.within(run, settings.retries, request.what),
                timeout=BoundedTimeout(
                    run, connect=settings.connect_timeout, read=settings.read_timeout
                ),
            )
        except GaveUp as gave_up:
            if gave_up.response is None:
                raise self._no_answer(gave_up.error or gave_up, request) from None
            response = gave_up.response
        except HTTPError as error:
            # Their texts and chains carry the request; the typed error says what matters.
            raise self._no_answer(error, request) from None
        uuid = response.headers.get("cluster-uuid")
        if uuid:
            with self._lock:
                self._uuid = uuid
        return request, read_answer(response, request)

    def _no_answer(self, error: BaseException, request: Request) -> Exception:
        return connection_error(
            error,
            request,
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
        )

    def _token(self) -> str:
        """Read the token, anew for each request: a file may have been rotated."""
        secret = self._settings.token
        if secret is None:
            return ""
        token = secret.reveal()
        if not _TOKEN.fullmatch(token):
            # http.client would refuse the header too, and repeat it in the message.
            raise ConfigError(
                f"the token from {secret.origin} has characters that no token has",
                hint="it must be one line of ASCII without spaces",
            )
        return token


def _tls(settings: InfluxDB3Settings) -> ssl.SSLContext:
    """Make the TLS context.

    Raises:
        ConfigError: When certificates cannot be loaded.
    """
    ca = settings.ca_path
    what = f"ca_path {ca}"
    try:
        context = ssl.create_default_context(
            cafile=str(ca) if ca is not None and not ca.is_dir() else None,
            capath=str(ca) if ca is not None and ca.is_dir() else None,
        )
        if settings.client_cert is not None:
            what = f"client_cert {settings.client_cert}"
            context.load_cert_chain(settings.client_cert, settings.client_key, password=_no_prompt)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no PEM certificate"
        raise ConfigError(
            f"the certificates in {what} cannot be loaded: {why}",
            hint="check the path, and that it is PEM that this user may read",
        ) from None
    if not settings.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Somebody decided so in the configuration; `doctor` reminds of it.
        urllib3.disable_warnings(InsecureRequestWarning)
    return context


def _no_prompt() -> str:
    """Refuse a key with a passphrase; OpenSSL would ask for it on the terminal."""
    raise ValueError("the key wants a passphrase")


def _rows(document: object, request: Request) -> list[dict[str, Any]]:
    """Check that an answer is a list of rows.

    Raises:
        NotInfluxDB3: When it is something else.
    """
    if isinstance(document, list) and all(isinstance(row, dict) for row in document):
        return document
    raise NotInfluxDB3(
        "it answered JSON that is no list of rows",
        operation=request.operation,
        url=request.url,
        database=request.database,
        hint="check the target's url (INFLUXDB_URL)",
    )


def _date(header: str | None) -> datetime | None:
    """Read a Date header."""
    if not header:
        return None
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
