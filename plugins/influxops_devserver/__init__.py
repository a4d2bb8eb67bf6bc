"""A stand-in for InfluxDB 3, for development and tests. It is not InfluxDB.

No package registry carries the InfluxDB 3 server, so this package answers the part of its HTTP
API that influxops uses, with SQL by Apache DataFusion, the query engine that the real server
uses too. What it answers comes from recordings of a real InfluxDB 3 Core 3.10.0-nightly (they are
replayed in ``tests/contract``); where those are silent, from observing how that version behaves.

In it: ping and health, databases (with retention and soft delete), tables, admin tokens,
the write paths of versions 1, 2 and 3, ``query_sql``, ``information_schema``, some system tables,
the limits of databases, tables, columns and files a query, the WAL's flush delay, and data on disk
that outlives a killed process. What a server would have in Parquet files after a snapshot of the
WAL is listed, and kept as it was. Rows that are written again while they are in the log are those
that were written last at once; a real server has been seen to show the older ones for a moment.

Not in it, and answered with 404: caches, InfluxQL but for ``SHOW DATABASES``, ``/metrics``, token
regeneration, the processing engine, object stores, several nodes.

Every answer carries the header ``x-influxops-stand-in: 1``.
"""
