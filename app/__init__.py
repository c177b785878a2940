"""The HTTP service: serves the pictures of published models. Imports `models`, never `training`."""
