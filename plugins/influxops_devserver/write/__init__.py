"""From line protocol to rows."""
