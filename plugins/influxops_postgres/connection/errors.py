"""What PostgreSQL and libpq complain about, in one line and with what to do next."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

import psycopg

from influxops.plugin import Hint, InfluxopsError, Interrupted, RunContext
from influxops_postgres.connection.settings import ConnectionSettings

#: What psycopg and libpq put in front of the reason.
_PREFIX = re.compile(
    r"""- \ host: .*?, \ hostaddr: \ \S+: \ | connection \ failed: \ |
        connection \ to \ server \ (?:at|on \ socket) .*? \ failed: \ | (?:FATAL|ERROR): \ +""",
    re.VERBOSE,
)

#: How a pooler puts what it has to say; PostgreSQL says it of what no driver sends.
PROTOCOL_VIOLATION = "08P01"

#: What a reason for not getting in contains, the setting where that lies, and what to do about
#: it; the first match counts.
_CONNECT_HINTS = (
    ("Connection refused", "host", "check {} and the port; does PostgreSQL run and listen there?"),
    ("No such file or directory", "host", "check {}; does PostgreSQL run there?"),
    ("failed to resolve host", "host", "check {}"),
    ("no password supplied", "password", "set {}, or name this server in the password file"),
    ("password authentication failed", "password", "check {}, and the user's name"),
    ("no pg_hba.conf entry", "", "have this machine and user allowed in the server's pg_hba.conf"),
    ("certificate", "sslrootcert", "check {}, the TLS mode, and the name of the host"),
    ("SSL", "sslmode", "check {}, and whether the server has TLS switched on"),
    ("definition of service", "", "check the name of the service, and the service file"),
    ("too many", "", "try again, or give the server more max_connections"),
    ("remaining connection slots", "", "try again, or give the server more max_connections"),
    ("starting up", "", "try again in a moment"),
    ("shutting down", "", "try again when it is back"),
    ("role ", "user", "check {}"),
    ("database ", "database", "check {}"),
)


#: What a pooler says, and what to do about it.
_POOLER_HINTS = (
    (
        "query_wait_timeout",
        "the pooler in between had no free connection: a run needs two at once; raise its pool "
        "size, or see what keeps its connections",
    ),
    (
        "statement pooling mode",
        "the pooler in between lends connections by the statement: set its pool_mode to "
        "transaction or session, or connect to PostgreSQL itself",
    ),
    ("no more connections allowed", "raise max_client_conn of the pooler in between"),
)
_NO_ANSWER = (
    "see whether the server is well; a pooler in between may have no free connection, of which a "
    "run needs two, or a firewall may have dropped this one"
)


class NoAnswer(psycopg.OperationalError):
    """The server, or what is in between, said nothing for as long as it may."""


class NotCommitted(psycopg.OperationalError):
    """A transaction was not committed: nothing of it is stored."""


class CommitUnknown(psycopg.OperationalError):
    """The answer to a COMMIT was lost: whether the transaction is stored is not known."""

    def __init__(self, reason: str, identity: Sequence[str | None]) -> None:
        super().__init__(
            "the connection broke while a transaction was committed, and whether it was is not "
            f"known: {' '.join(reason.split())}"
        )
        self.identity = [*identity]


def reason(error: BaseException) -> str:
    """Return what PostgreSQL or libpq says of an error, in one line."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return " ".join(error.diag.message_primary.split())
    return next(iter(_reasons(str(error))), type(error).__name__)


@contextlib.contextmanager
def explained(
    context: RunContext, explain: Callable[[psycopg.Error], InfluxopsError]
) -> Iterator[None]:
    """Raise what psycopg raises in the block as `explain` has it, or as the end of the run."""
    try:
        yield
    except psycopg.Error as error:
        try:
            context.check()
        except Interrupted as over:
            if not isinstance(error, CommitUnknown):
                raise
            message = f"{over.message}; {error}"
            hint = "look whether it was done before you run it again"
            raise type(over)(message, hint=hint) from error
        raise explain(error) from error


def broken_hint(error: psycopg.Error) -> str:
    """Return what to do where a connection broke, or a pooler refused it."""
    return _NO_ANSWER if isinstance(error, NoAnswer) else _pooler_hint(reason(error)) or "try again"


def broken(error: psycopg.Error) -> str:
    """Return in words why a connection is broken."""
    if error.sqlstate is None and not isinstance(error, NoAnswer):
        return f"the connection broke: {reason(error)}"
    return reason(error)


def _pooler_hint(why: str) -> str:
    return next((hint for part, hint in _POOLER_HINTS if part in why), "")


def in_setting(settings: ConnectionSettings, name: str, text: str) -> Hint:
    """Return a remedy that lies in a setting, or in the connection string that stands for it.

    `{}` in the text stands for the setting; without a name, it lies in none.
    """
    if not name:
        return Hint.advise(text)
    return Hint.setting("dsn" if settings.dsn and name not in settings.given else name, text)


def connection_error(
    error: psycopg.Error, timeout: float | None, settings: ConnectionSettings
) -> InfluxopsError:
    """Return the error that says why there is no connection; each address had `timeout` seconds."""
    location = settings.parameters().text
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        within = f" within {timeout:g} s" if timeout else ""
        return settings.error(
            f"cannot connect to {location}: no answer{within}",
            hint=in_setting(
                settings,
                "host",
                "check {} and the port; is a firewall in between, or a pooler without a free "
                "connection?",
            ),
        )
    why = "; ".join(_reasons(str(error)))
    hint = next(
        (in_setting(settings, name, text) for part, name, text in _CONNECT_HINTS if part in why),
        _pooler_hint(why),
    )
    return settings.error(f"cannot connect to {location}: {why}", hint=hint)


def _reasons(message: str) -> list[str]:
    """Return each reason once, without the prefix and the advice that libpq adds."""
    summary, several, details = message.partition("All failures were:")
    lines = (details if several else summary).strip().splitlines()
    reported = (_PREFIX.sub("", line).strip() for line in lines if not line.startswith("\t"))
    return list(dict.fromkeys(line for line in reported if line))
