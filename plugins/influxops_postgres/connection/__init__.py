"""Connections to PostgreSQL: settings, connecting, committing, locks, and errors in words."""
