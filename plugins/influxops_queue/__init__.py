"""The outbox and its workers: tenants that any program adds to the registry get their databases.

A face, as the command line is. Its own tables, and procrastinate's, are in one schema beside the
ledger's. procrastinate is imported by the modules that use it, when they do.
"""

from __future__ import annotations
