"""How code runs: deadlines, cancellation, threads and standard streams."""
