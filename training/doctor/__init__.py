"""The doctor looks at every training, says in plain words what goes wrong, and leads back to a good state if asked to."""
