"""The HTTP API: its endpoints, the shapes of requests and answers, and its problems."""
