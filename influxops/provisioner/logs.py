"""Where a Provisioner logs."""

from __future__ import annotations

import logging

log = logging.getLogger("influxops")
#: What the parts of a run log goes to the same place, for debugging: an application hears of
#: each change of state once, and not of each try.
quiet = logging.getLogger("influxops.provisioner")


def _for_debugging(record: logging.LogRecord) -> bool:
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return log.isEnabledFor(logging.DEBUG)


quiet.addFilter(_for_debugging)
