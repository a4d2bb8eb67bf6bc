"""The configuration: what the file, the environment or a program says, and the base of settings."""
