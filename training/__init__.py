"""Makes zoo entries. The service never imports this package, and its dependencies are the `train` extra."""
