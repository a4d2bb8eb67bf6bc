"""Single tenants: what a run does for all, for a few, without reading everything."""
