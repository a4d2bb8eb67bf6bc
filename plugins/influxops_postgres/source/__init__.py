"""The source `postgres`: the tenants of a device registry."""
