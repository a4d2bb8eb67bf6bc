"""The values that flow through a run: frozen, without I/O."""
