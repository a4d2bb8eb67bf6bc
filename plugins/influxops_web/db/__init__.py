"""The service's database: connecting, its tables, and what is read of them and written."""
