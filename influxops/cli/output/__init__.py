"""What the command line prints: lines, tables, progress, the log."""
