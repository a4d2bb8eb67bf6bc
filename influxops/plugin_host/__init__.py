"""How plugins are found, checked, configured and called: hooks, and a handle a kind of plugin."""
