"""The commands `influxops queue` and `influxops worker`."""
