"""Creating databases: a batch of changes, one at a time for a caller that waits, and the marker."""
