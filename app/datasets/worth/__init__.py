"""What a data set is worth: classifiers that learn from it, from real pictures and from both, asked about real pictures."""
