"""Where the embedded PostgreSQL was before it went to the other stand-ins."""

from influxops_devserver.postgres import *  # noqa: F403
