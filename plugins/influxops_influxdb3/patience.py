"""How long to wait and how often to try, within the time that the run has."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Self

from urllib3.exceptions import InvalidHeader, ReadTimeoutError, SSLError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from influxops import DeadlineExceeded, Run
from influxops_influxdb3.answers import is_file_limit

#: The first wait, in seconds; it doubles from one try to the next.
_BACKOFF = 0.2
#: A server that asks for more seconds than this is not waited for.
_LONGEST_RETRY_AFTER = 60.0
#: What may go away by itself.
_PASSING = frozenset({429, *range(500, 600)})


class GaveUp(Exception):
    """Waiting any longer would exceed the run's time, so the last failure is the answer.

    Args:
        response: The last answer, None where there was none.
        error: What went wrong where there was no answer.
    """

    def __init__(self, response: BaseHTTPResponse | None, error: Exception | None) -> None:
        super().__init__("no time left to try again")
        self.response = response
        self.error = error


class BoundedRetry(Retry):
    """Tries again what may go away by itself, and waits through the run.

    All methods are tried again: each operation is safe to repeat. Waits double and are shortened
    at random, so that many clients do not come back together; a Retry-After is kept to.

    Args:
        run: Whose deadline and cancellation bound the waits.
        what: What is tried, for the log.
        **kwargs: What urllib3's Retry takes.
    """

    def __init__(self, *, run: Run, what: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._run = run
        self._what = what

    @classmethod
    def within(cls, run: Run, tries: int, what: str) -> Self:
        """Make one for one request.

        Args:
            run: Whose deadline and cancellation bound the waits.
            tries: How often to try again.
            what: What is tried, for the log.
        """
        return cls(
            run=run,
            what=what,
            total=tries,
            # Each of these has taken the whole read timeout or has met a server that was going
            # down; what follows then is a connection error.
            read=min(tries, 2),
            status_forcelist=_PASSING,
            allowed_methods=None,
            raise_on_status=False,
        )

    def new(self, **kw: Any) -> Self:
        """Make the next one, for the same run."""
        return super().new(run=self._run, what=self._what, **kw)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Self:
        """Count a failure; end at once where the next try can only fail the same way.

        Raises:
            GaveUp: When the answer would stay what it is.
            SSLError: When a certificate is not trusted.
        """
        if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise error
        if response is not None and is_file_limit(response):
            raise GaveUp(response, None)
        return super().increment(method, url, response, error, *args, **kwargs)

    def get_backoff_time(self) -> float:
        """Give the seconds to wait after the failures so far."""
        if not self.history:
            return 0.0
        longest = _BACKOFF * 2.0 ** (len(self.history) - 1)
        return min(longest, 10.0) * random.uniform(0.5, 1.0)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait before the next try.

        Args:
            response: The answer that asks for it, None after a connection error.

        Raises:
            GaveUp: When there is no time for another try.
            Interrupted: As soon as the run is cancelled.
        """
        error = self.history[-1].error if self.history else None
        asked = self._asked_for(response)
        seconds = self.get_backoff_time() if asked is None else asked
        if seconds > _LONGEST_RETRY_AFTER:
            raise GaveUp(response, error)
        why = f"HTTP {response.status}" if response is not None else _kind_of(error)
        self._run.log.info("%s: %s; trying again in %.1f s", self._what, why, seconds)
        try:
            self._run.pause(seconds)
        except DeadlineExceeded as over:
            raise GaveUp(response, error) from over

    def _asked_for(self, response: BaseHTTPResponse | None) -> float | None:
        """Give the seconds of Retry-After, None where there is none that can be read."""
        if response is None:
            return None
        try:
            return self.get_retry_after(response)
        except InvalidHeader:
            return None


class BoundedTimeout(Timeout):
    """Timeouts for each try, as long as another one makes sense; urllib3 clones them for each.

    They are not shortened to the run's deadline: who waits for the answer keeps to that.

    Args:
        check: Raises where another try would be for nothing.
        connect: Seconds for a connection.
        read: Seconds for an answer.
    """

    def __init__(self, check: Callable[[], None], *, connect: float, read: float) -> None:
        super().__init__(connect=connect, read=read)
        self._check = check
        self._seconds = (connect, read)

    def clone(self) -> Timeout:
        """Give the timeouts for the next try.

        Raises:
            Interrupted: When there is to be none.
        """
        self._check()
        connect, read = self._seconds
        return Timeout(connect=connect, read=read)


def _kind_of(error: Exception | None) -> str:
    """Name a connection error without its text, which repeats addresses and objects."""
    return "no answer in time" if isinstance(error, ReadTimeoutError) else "the connection failed"
