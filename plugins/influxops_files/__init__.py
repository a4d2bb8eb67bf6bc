"""Tenants from a file, from standard input, or from the configuration itself."""

from influxops_files.file import FileSettings, FileSource
from influxops_files.static import StaticSettings, StaticSource

__all__ = ["FileSettings", "FileSource", "StaticSettings", "StaticSource"]
