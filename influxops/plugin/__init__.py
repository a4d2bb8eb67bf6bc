"""All that a plugin imports: `from influxops.plugin import Source, Tenant, hookimpl`."""

from influxops.plugin import base, ledger, reporter, source, target
from influxops.plugin.base import *  # noqa: F403
from influxops.plugin.ledger import *  # noqa: F403
from influxops.plugin.reporter import *  # noqa: F403
from influxops.plugin.source import *  # noqa: F403
from influxops.plugin.target import *  # noqa: F403

__all__: list[str] = []
__all__ += base.__all__
__all__ += source.__all__
__all__ += target.__all__
__all__ += ledger.__all__
__all__ += reporter.__all__
