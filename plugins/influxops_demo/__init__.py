"""What shows influxops at work without the real servers: a demo, and a stand-in for InfluxDB 3.

It needs the extra ``demo``; in a checkout: ``pip install '.[demo]'``.
"""
