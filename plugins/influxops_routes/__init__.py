"""Routes for what leads clients to their servers: files of several formats, written in time."""
