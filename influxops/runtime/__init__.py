"""How code runs: deadlines, cancellation, threads, standard streams and schema migrations."""
