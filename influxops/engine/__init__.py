"""One configuration and its plugins, and what can be run with them."""
