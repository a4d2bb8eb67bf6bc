"""Tenants' data as files: exporting, and importing again."""
