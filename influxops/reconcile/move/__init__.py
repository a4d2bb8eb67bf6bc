"""Moving tenants with their data: plan, copy, backfill, cutover, moves in progress."""
