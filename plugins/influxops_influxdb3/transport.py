"""How a request gets to a server and its answer back: connections, TLS, token, identity."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning
from urllib3.response import BaseHTTPResponse

from influxops import ConfigError, Run, __version__
from influxops_influxdb3 import exchange
from influxops_influxdb3.answers import Answer, Request, read_answer
from influxops_influxdb3.errors import (
    ConnectionFailed,
    InfluxDBError,
    NotInfluxDB3,
    Operation,
    WrongServer,
)
from influxops_influxdb3.exchange import Abandoned, AnswerTooLarge, Exchange
from influxops_influxdb3.patience import BoundedRetry, BoundedTimeout, GaveUp
from influxops_influxdb3.settings import InfluxDB3Settings
from influxops_influxdb3.silence import connection_error, late_answer

#: More connections do not make the server faster: it does one change of its catalog at a time.
_CONNECTIONS = 4
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which server answers in one run.

    Args:
        run: The run's id.
        uuid: The cluster-uuid of its first answer.
        other: The one of another server that answered later; empty where none did.
    """

    run: str
    uuid: str
    other: str = ""


class Transport:
    """The way to one server; may be used from several threads.

    Args:
        settings: Where it is, and how to get in.
        section: The name of the settings' section, for hints; empty where there is none.

    Raises:
        ConfigError: When certificates cannot be loaded.
    """

    def __init__(self, settings: InfluxDB3Settings, section: str = "") -> None:
        self._settings = settings
        self._section = section
        self._identity: _Identity | None = None
        self._uuid: str | None = None
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=_CONNECTIONS,
            ssl_context=_tls(settings) if settings.url.startswith("https:") else None,
        )
        self._pool.pool_classes_by_scheme = exchange.POOLS

    @property
    def cluster_uuid(self) -> str | None:
        """The identity of the server that answered last; every answer carries it."""
        with self._lock:
            return self._uuid

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._pool.clear()

    def send(
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
        """Send one request, again where that may help, and give the good answer.

        Args:
            run: Whose deadline and cancellation bound it.
            operation: What is tried.
            method: The HTTP method.
            path: The path below the server's URL.
            database: The database that it is about.
            query: What follows the path.
            document: The body, as JSON.
            body: The body, as it is.
            content_type: The type of `body`.

        Raises:
            InfluxDBError: When there is no answer, or none that is good.
            ConfigError: When the token cannot be read.
            Interrupted: When the run is over; one that only reads is not waited for then.
        """
        settings = self._settings
        token = self._token()
        request = Request(
            operation=operation,
            url=settings.url,
            database=database,
            token_origin=settings.token.origin if settings.token else "",
            section=self._section,
            hide=lambda text: text.replace(token, "[redacted]") if token else text,
        )
        run.check()
        if operation.changes:
            self._refuse_another_server(run, request)
        headers = {"User-Agent": f"influxops/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if content_type:
            headers["Content-Type"] = content_type
        under_way = Exchange(
            run,
            longest=settings.read_timeout,
            grace=exchange.GRACE if operation.changes else 0.0,
        )

        def ask() -> BaseHTTPResponse:
            return self._pool.request(
                method,
                f"{settings.url}{path}" + (f"?{urlencode(query)}" if query else ""),
                body=body,
                json=document,
                headers=headers,
                redirect=False,
                retries=BoundedRetry.within(run, settings.retries, request.what),
                timeout=BoundedTimeout(
                    under_way.check,
                    connect=settings.connect_timeout,
                    read=settings.read_timeout,
                ),
            )

        began = time.monotonic()
        status = "no answer"
        try:
            response = self._response(under_way, ask, run, request)
            status = str(response.status)
        finally:
            run.log.debug(
                "%s %s %s: %s after %.0f ms",
                method,
                path,
                database or "-",
                status,
                (time.monotonic() - began) * 1000,
            )
        self._note_identity(run, response.headers.get("cluster-uuid"))
        self._refuse_another_server(run, request)
        return request, read_answer(response, request)

    def _response(
        self,
        under_way: Exchange,
        ask: Callable[[], BaseHTTPResponse],
        run: Run,
        request: Request,
    ) -> BaseHTTPResponse:
        """Wait for the answer, whatever its status; say why where there is none."""
        settings = self._settings
        failure: InfluxDBError
        began = time.monotonic()
        try:
            return under_way.response(ask)
        except Abandoned as error:
            seconds = time.monotonic() - began if error.deadline else settings.read_timeout
            failure = late_answer(request, seconds, deadline=error.deadline, sent=under_way.sent)
        except AnswerTooLarge:
            failure = NotInfluxDB3(
                f"it answered more than {exchange.LARGEST_ANSWER // 1024**2} MiB",
                operation=request.operation,
                url=request.url,
                database=request.database,
                hint=request.check_url,
            )
        except GaveUp as error:
            if error.response is not None:
                return error.response
            failure = self._no_answer(error.error or error, request, under_way)
        except HTTPError as error:
            failure = self._no_answer(error, request, under_way)
        # Outside of the handlers: urllib3's texts and chains carry the request, this says what
        # matters.
        raise failure

    def _no_answer(
        self, error: BaseException, request: Request, under_way: Exchange
    ) -> ConnectionFailed:
        return connection_error(
            error,
            request,
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
            sent_before=under_way.sent,
        )

    def _note_identity(self, run: Run, uuid: str | None) -> None:
        """Remember which server answered."""
        if uuid is None:
            return
        with self._lock:
            self._uuid = uuid
            known = self._identity
            if known is None or known.run != run.id:
                self._identity = _Identity(run.id, uuid)
            elif known.uuid != uuid:
                self._identity = replace(known, other=uuid)

    def _refuse_another_server(self, run: Run, request: Request) -> None:
        """Stop where a run that began on one server meets another, or would write to it.

        Raises:
            WrongServer: Then.
        """
        with self._lock:
            known = self._identity
        if known is None or known.run != run.id:
            return
        wanted, found = known.uuid, known.other
        if not found and request.operation.changes:
            wanted, found = self._settings.cluster_uuid or known.uuid, known.uuid
        if found and found != wanted:
            raise WrongServer(
                f"another server answers there: its cluster-uuid is {found}, not {wanted}",
                operation=request.operation,
                url=request.url,
                database=request.database,
                hint="does the URL lead to several servers? Each needs a target of its own",
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
