"""Seeds for requests that bring none."""

import secrets

# what JavaScript's numbers hold exactly: the caller has to be able to send the seed back
LARGEST_RANDOM = 2**53 - 1


def random_seed(n: int) -> int:
    """A seed s such that s … s + n - 1 are all valid."""
    return secrets.randbelow(LARGEST_RANDOM - n)
