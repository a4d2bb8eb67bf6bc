"""Writes a file of routes, whole, where it would differ from the one that is there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from influxops.plugin import ExitCode, Hint, ReporterError, Routes, RunContext, pluralize
from influxops.plugin.files import is_special, lock_folder, replace_file, unwritable
from influxops_routes.formats import FORMATS

#: The guard of a file, as `--allow` has it.
GUARD = "mass-change"
_WHAT = "the routes"
#: The share of the routes in a file that one writing may change or take away.
_MOST = 0.2


class RoutesRefused(ReporterError):
    """A file stays as it is, because too much of it would change."""

    exit_code = ExitCode.REFUSED


def write(
    path: Path,
    format: str,
    read: Callable[[], Routes],
    context: RunContext,
    *,
    grace: float,
    allow: Collection[str] = (),
    changing: Callable[[], object] = lambda: None,
) -> bool:
    """Write the routes as they are now; return whether the file was replaced.

    They are read while other processes that write this file wait, so that none of them puts older
    ones in the place of newer ones. `changing` is called right before the file is replaced.

    Raises:
        RoutesRefused: When the file would lead nobody to a server any more, or more than a fifth
            of its routes would be changed or gone, and that is not allowed.
        ReporterError: When it cannot be written.
        InfluxopsError: When the routes cannot be read.
    """
    form = FORMATS[format]
    with lock_folder(path, context):
        before = _read(path)
        # One that waited for long writes all the same, and read later than this one.
        while (text := form.render(routes := read(), grace)) and (now := _read(path)) != before:
            before = now
        if before is not None and form.content(before) == form.content(text):
            return False
        if before is not None and GUARD not in allow:
            # Who is led to a server that was replaced is not led there on purpose.
            gone = form.routes(form.render(Routes(routes.version, routes.replaced), grace))
            _guard(path, form.routes(before) - gone, form.routes(text))
        changing()
        # What leads clients runs as another user.
        replace_file(path, text.encode(), context, what=_WHAT, mode=0o644)
    return True


def _read(path: Path) -> str | None:
    """Return what is in a file; None where there is none."""
    path = path.expanduser()
    if is_special(path):
        if path.is_dir():
            raise unwritable(path, IsADirectoryError(21, "it is a directory"), _WHAT)
        return None
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(path, error, _WHAT) from None


def _guard(path: Path, before: set[str], after: set[str]) -> None:
    gone = len(before - after)
    # One is never many, however few there are, unless it is the last one.
    if not gone or (after and (gone < 2 or gone <= _MOST * len(before))):
        return
    raise RoutesRefused(
        f"{gone:,} of the {pluralize(len(before), 'route')} in {path} would be changed or gone"
        f"{'' if after else ', and none would be left'}: it stays as it is",
        hint=Hint.allow(GUARD),
    )
