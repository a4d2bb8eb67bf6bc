"""HTTP with one server: the client, what carries its requests, and when one is sent again."""
