"""The worker: its loop, its jobs, its connections, and its health endpoint."""
