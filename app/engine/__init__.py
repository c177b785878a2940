"""Everything between a route and a network: catalog, batching, devices. Knows nothing of HTTP."""
