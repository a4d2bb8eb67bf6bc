"""Writing to the ledger what a run did."""
