"""The errors that influxops raises, and what a command ends with.

Every error says what failed, for whom, why, and what to do next::

    InfluxopsError             the root: catch this one
    ├── ConfigError            the configuration, the environment or the command line   exit 2
    ├── PluginError            a plugin broke while it ran
    │   └── PluginLoadError   a plugin could not be found, loaded or made              exit 2
    ├── SourceError            tenants could not be read
    ├── TargetError            a server could not be reached or refused
    │   ├── TargetAuthError    …because of who asks (token, rights): asking again is no use
    │   └── ExportError        …the files of an export are not whole, or cannot be written
    ├── LedgerError            the ledger could not be read or written
    │   └── TransactionLost    …nor can anything in the application's own transaction
    ├── ReporterError          a report could not be delivered; never changes a run's result
    ├── NotSupported           a plugin lacks what single tenants need
    ├── LockBusy               another run holds the lock                               exit 5
    └── Interrupted            Ctrl-C, SIGTERM or SIGHUP                                exit 130
        └── DeadlineExceeded   the time is used up                                      exit 1
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from influxops.domain.hint import Hint


class ExitCode(IntEnum):
    """What a command ends with."""

    OK = 0  # as desired
    FAILED = 1  # something failed or is blocked; everything else was done
    USAGE = 2  # the command line or the configuration is wrong; nothing was done
    PENDING = 3  # `plan --detailed-exitcode`: there is something to do
    REFUSED = 4  # a guard refused
    BUSY = 5  # another run holds the lock
    INTERRUPTED = 130  # what was done stays done, and was reported


class InfluxopsError(Exception):
    """The root of all errors raised by influxops and its plugins.

    `message` is one sentence without secrets: what failed, for whom and why. `hint` is what to do
    next, as text or as a remedy; empty where nothing useful can be said.
    """

    exit_code = ExitCode.FAILED
    kind: ClassVar[str] = "failure"  # what reports call what ended a run or a command
    #: Whether a request that changes something was abandoned without an answer: it may still be
    #: carried out, so that nothing read before that settles how it ended.
    abandoned = False

    def __init__(self, message: str, *, hint: str | Hint = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = hint if isinstance(hint, Hint) else Hint.advise(hint)

    @property
    def hint(self) -> str:
        """What to do next, in plain words."""
        return str(self.remedy)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(InfluxopsError):
    """The configuration, the environment or the command line asks for what cannot be.

    `where` is file and line (`influxops.toml:12`), variable or option, where it is known.
    """

    exit_code = ExitCode.USAGE
    kind = "configuration"

    def __init__(self, message: str, *, hint: str | Hint = "", where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class PluginError(InfluxopsError):
    """A plugin broke while it ran."""


class PluginLoadError(PluginError):
    """What the configuration asks for is not there or cannot be loaded: nothing was tried."""

    exit_code = ExitCode.USAGE


class SourceError(InfluxopsError):
    """Tenants could not be read from a source."""


class TargetError(InfluxopsError):
    """A target could not be reached, or answered with an error."""


class TargetAuthError(TargetError):
    """A target refused the token or its rights: trying again changes nothing."""


class ExportError(TargetError):
    """The files of an export are not as they were written, or cannot be written."""


class LedgerError(InfluxopsError):
    """The ledger could not be read or written, or holds what cannot be."""


class TransactionLost(LedgerError):
    """The connection that an application gave is closed or broken, or its transaction has failed.

    Nothing that was done in this transaction is or will be stored. On a connection in autocommit
    mode what was done before stays, and the note may be stored.
    """


class ReporterError(InfluxopsError):
    """A report could not be delivered. It is a warning: it never changes a run's result."""


class NotSupported(InfluxopsError):
    """A plugin lacks what single tenants need: nothing is wrong with what it leads to."""


class LockBusy(InfluxopsError):
    """Another run holds the lock."""

    exit_code = ExitCode.BUSY
    kind = "lock-busy"


class Interrupted(InfluxopsError):
    """The run was ended from outside, by Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = ExitCode.INTERRUPTED
    kind = "interrupted"


class DeadlineExceeded(Interrupted):
    """The time that was given is used up."""

    exit_code = ExitCode.FAILED
    kind = "deadline"
