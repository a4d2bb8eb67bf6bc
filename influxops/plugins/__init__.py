"""How plugins are found, and how the engine calls them."""
