"""Access: sessions, operators' tokens, and limits on what a client may send and keep open."""
