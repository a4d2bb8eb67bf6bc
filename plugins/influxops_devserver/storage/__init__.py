"""What the server keeps: its catalog, its write-ahead log, rows, and the list of Parquet files."""
