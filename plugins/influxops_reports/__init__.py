"""The reporters that come with influxops: terminal, JSON, journal and Prometheus textfile."""
