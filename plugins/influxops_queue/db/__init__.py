"""The queue in the ledger's database: its schema, its triggers, and its statements."""
