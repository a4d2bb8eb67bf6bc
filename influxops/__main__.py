"""`python -m influxops` is `influxops`."""

from influxops.cli.main import main

if __name__ == "__main__":
    main()
