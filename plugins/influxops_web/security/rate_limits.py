"""Limits on requests that bring no good token.

The counts are of this process, in memory: a token cannot be guessed anyhow, and the limit only
keeps work, noise and the audit log small. A good token is never counted, nor refused.
Failures older than a minute are forgotten.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter, deque

#: Seconds that a failure counts.
_SPAN = 60.0
#: So many times as many from all addresses as from one.
_ALL = 30


class FailureRateLimit:
    """Counts failures a minute from one address, and from all: thirty times as many.

    An IPv6 address counts with all others of its /64, which one machine has for itself.
    """

    def __init__(self, each: int) -> None:
        self._each, self._all = each, _ALL * each
        self._failures: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()

    def fail(self, address: str) -> int:
        """Count a failure; return 0 where one more is too few, else how many seconds to wait."""
        now, who = time.monotonic(), _network(address)
        while self._failures and self._failures[0][0] <= now - _SPAN:
            _, old = self._failures.popleft()
            self._counts[old] -= 1
            if not self._counts[old]:
                del self._counts[old]
        if len(self._failures) >= self._all or self._counts[who] >= self._each:
            own = (at for at, each in self._failures if each == who)
            return max(1, math.ceil(next(own, self._failures[0][0]) + _SPAN - now))
        self._failures.append((now, who))
        self._counts[who] += 1
        return 0


def _network(address: str) -> str:
    """Return what an address counts as."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def readable_address(address: str) -> str:
    """Return an address as it is logged; empty where a proxy gave something else."""
    try:
        # Behind the % of an IPv6 address may be any text.
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return ""
