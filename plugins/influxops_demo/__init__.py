"""What shows influxops at work without the real servers: a demo, and a stand-in for InfluxDB 3.

The stand-in needs the extra ``demo``: ``pip install 'influxops[demo]'``.
"""
