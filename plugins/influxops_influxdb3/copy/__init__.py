"""Copying a database to another server while it is in use."""
