"""What can go wrong with training data."""


class DataError(Exception):
    """Data that can't be trained on. Says which file, what is wrong with it, and what to do next, in that order."""


class NoTestSplitError(DataError):
    """The data set has no test split, and a measurement asked for one."""
