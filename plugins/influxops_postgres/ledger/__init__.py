"""The ledger `postgres`: its schema, its transactions, and its commands."""
