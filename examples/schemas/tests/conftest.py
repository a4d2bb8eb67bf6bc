"""A PostgreSQL of one's own comes with influxops: `pip install 'influxops[demo]'`."""

pytest_plugins = ["influxops_devserver.fixtures"]
