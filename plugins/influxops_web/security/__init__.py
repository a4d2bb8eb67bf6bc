"""Who may come in: sessions, tokens of operators, and what a client may send and keep open."""
