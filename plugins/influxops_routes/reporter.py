"""`RoutesReporter`: keeps a file of routes up to date, and tells what reads it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from influxops.plugin import (
    Check,
    HealthChecks,
    Hint,
    Report,
    Reporter,
    ReporterError,
    ReporterSettings,
    RouteFiles,
    Routes,
    RunContext,
    hookimpl,
    one_line,
    parse_duration,
    setting,
)
from influxops.plugin.files import check_writable, unwritable
from influxops_routes.files import write

#: So many characters of what a program says are shown.
_SAID = 400


class RoutesReporter(Reporter, RouteFiles, HealthChecks):
    """Writes where the clients of each database are led, for a proxy or a script."""

    class Settings(ReporterSettings):
        """Where the file is, and what runs when it changes."""

        timeout: float = setting(
            30.0, description="Seconds that all of it may take, `on_change` included.", gt=0, le=300
        )
        path: str = setting(description="The file, replaced whole.", min_length=1)
        format: Literal["json", "csv", "nginx"] = setting("json", description="Its format.")
        on_change: list[str] = setting(
            [],
            description="A program and its arguments, run without a shell after the file was "
            'replaced: `["nginx", "-s", "reload"]`; run again later where it fails.',
        )
        on_change_timeout: float = setting(
            10.0, description="Seconds that this program may take.", gt=0, le=300
        )
        grace: str = setting(
            "60s",
            description="How long after a change nginx answers 503, not 404, for a database that "
            "is not listed: its tenant may be newer than the file.",
            parse=lambda text: (parse_duration(text), text)[1],
        )

        @property
        def file(self) -> str:
            """The file that it replaces."""
            return str(Path(self.path).expanduser().resolve())

    settings: Settings

    @property
    def _path(self) -> Path:
        return Path(self.settings.file)

    @property
    def _untold(self) -> Path:
        """The file that exists while a program has not noticed a change."""
        return self._path.with_name(f".{self._path.name}.untold")

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Check that the file can be written."""
        yield check_writable(self._path, "the routes", replaced=True)
        if self.settings.on_change:
            program = self.settings.on_change[0]
            found = shutil.which(program)
            message = f"{program} is {found}" if found else f"there is no program {program}"
            yield Check("on_change", bool(found), message, Hint.setting("on_change", "correct {}"))

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Do nothing: routes are written when they change, and not by what a run did."""

    @hookimpl
    def influxops_write_routes(
        self, read: Callable[[], Routes], allow: frozenset[str], context: RunContext
    ) -> None:
        """Write the file where it would differ, and tell of it."""
        form, grace = self.settings.format, parse_duration(self.settings.grace)
        if not self.settings.on_change:
            write(self._path, form, read, context, grace=grace, allow=allow)
            return
        try:
            # Before the change, as this process may end right after it; and after it, as another
            # one may have told of the file of before in the meantime.
            if write(
                self._path, form, read, context, grace=grace, allow=allow, changing=self._note
            ):
                self._note()
            if noted := self._noted():
                self._tell(context)
                if self._noted() == noted:
                    self._untold.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._untold, error, "what on_change is to know") from None

    def _note(self) -> None:
        self._untold.write_text(secrets.token_hex())

    def _noted(self) -> str:
        """Return which change no program has noticed yet; empty for none."""
        try:
            return self._untold.read_text() or "?"
        except FileNotFoundError:
            return ""

    def _tell(self, context: RunContext) -> None:
        """Run the program.

        Raises:
            ReporterError: When it cannot be run, fails, or takes too long.
        """
        command, limit = self.settings.on_change, self.settings.on_change_timeout
        limit = context.time_left(limit) or limit
        # A file, not a pipe: what it leaves running may keep that open.
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # as configured  # noqa: S603
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            except OSError as error:
                raise self._failed(error.strerror or str(error), b"") from None
            try:
                with context.on_end(lambda: _kill(process), within=limit) as ending:
                    code = process.wait()
            except BaseException:
                _kill(process)
                raise
            said.seek(0)
            if ending.error is not None:
                raise self._failed(f"it did not end within {limit:g} s", said.read(4 * _SAID))
            if code:
                how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
                raise self._failed(how, said.read(4 * _SAID))

    def _failed(self, why: str, said: bytes) -> ReporterError:
        text = one_line(" ".join(said.decode(errors="replace").split()))
        return ReporterError(
            f"the routes are in {self._path}, but on_change failed, {self.settings.on_change[0]}: "
            f"{why}{f': {text[:_SAID]}' if text else ''}; it is run again with the next "
            "run, and by a worker soon",
            hint=Hint.setting("on_change", "correct {}, or what it runs"),
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it started, unless it has ended by itself."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
