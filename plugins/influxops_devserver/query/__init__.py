"""SQL by DataFusion: the tables that it sees, what a query may read, results as text."""
