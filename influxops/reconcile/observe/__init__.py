"""Reading what is: sources, targets and ledger at once, and targets again after changes."""
