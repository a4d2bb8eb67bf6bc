"""The routes of the HTTP API, and how their parameters and bodies are read."""
