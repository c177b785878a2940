"""Synthetic labelled data sets: jobs that outlive the process, files that are the same bytes every time."""
