"""One module a command, thin."""
