"""How plugins are found, checked and called: the hooks, and a handle a kind of plugin."""
