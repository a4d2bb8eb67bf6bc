"""The configuration: what the file, the environment or a program says, checked by the plugins."""
