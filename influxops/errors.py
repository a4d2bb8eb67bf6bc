"""The errors that influxops raises.

Every error says what failed, for whom, why, and what to do next::

    InfluxopsError            the root: catch this one
    ├── ConfigError           the configuration, the environment or the command line   exit 2
    ├── PluginError           a plugin could not be found, loaded or run
    ├── SourceError           tenants could not be read
    ├── TargetError           a server could not be reached or refused
    │   └── TargetRefused     …because of who asks (token, rights): asking again is no use
    ├── ReporterError         a report could not be delivered; never changes a run's result
    ├── LockBusy              another run holds the lock                                exit 5
    └── Interrupted           Ctrl-C, SIGTERM or the run's deadline                     exit 130
        └── DeadlineExceeded  the run's time is used up
"""

from __future__ import annotations


class InfluxopsError(Exception):
    """The root of all errors raised by influxops and its plugins.

    Args:
        message: What failed, for whom and why; one sentence, without secrets.
        hint: What to do next; empty where nothing useful can be said.
    """

    #: The exit code of a command that ends with this error.
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(InfluxopsError):
    """The configuration, the environment or the command line asks for what cannot be.

    Args:
        message: What is wrong.
        hint: What to write instead.
        where: File and line (`influxops.toml:12`), variable or option, where it is known.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class PluginError(InfluxopsError):
    """A plugin could not be found, could not be loaded, or broke while it ran."""


class SourceError(InfluxopsError):
    """Tenants could not be read from a source."""


class TargetError(InfluxopsError):
    """A target could not be reached, or answered with an error."""


class TargetRefused(TargetError):
    """A target refused the token or its rights: trying again changes nothing."""


class ReporterError(InfluxopsError):
    """A report could not be delivered. It is a warning: it never changes a run's result."""


class LockBusy(InfluxopsError):
    """Another run holds the lock."""

    exit_code = 5


class Interrupted(InfluxopsError):
    """The run was ended from outside, by Ctrl-C or SIGTERM."""

    exit_code = 130


class DeadlineExceeded(Interrupted):
    """The time that the run was given (`--timeout`) is used up."""

    exit_code = 1
