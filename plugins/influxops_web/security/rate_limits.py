"""Limits on attempts to log in.

The counts are of this process, in memory: a token cannot be guessed anyhow, and the limit only
keeps work and noise low. Attempts older than a minute are forgotten.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque

#: Seconds that an attempt counts.
_SPAN = 60.0
#: So many times as many from all addresses as from one.
_ALL = 30


class LoginRateLimit:
    """Limits attempts to log in a minute from one address; from all, to thirty times as many."""

    def __init__(self, each: int) -> None:
        self._each, self._all = each, _ALL * each
        self._tries: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()

    def try_one(self, address: str) -> int:
        """Count an attempt; return 0 where it may be made, else how many seconds to wait."""
        now = time.monotonic()
        while self._tries and self._tries[0][0] <= now - _SPAN:
            _, old = self._tries.popleft()
            self._counts[old] -= 1
            if not self._counts[old]:
                del self._counts[old]
        if len(self._tries) >= self._all or self._counts[address] >= self._each:
            first = next((at for at, who in self._tries if who == address), self._tries[0][0])
            return max(1, math.ceil(first + _SPAN - now))
        self._tries.append((now, address))
        self._counts[address] += 1
        return 0
