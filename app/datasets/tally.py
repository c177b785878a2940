"""What is found out about a data set's pictures while they are made, shard by shard, and what it says of all of them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BINS = 100  # of similarities from 0 to 1; whatever is below 0 is in the first
CLOSEST = 8  # pictures that are told of


@dataclass(frozen=True, order=True)
class Close:
    """A picture of the data set, and how close it is to the training picture nearest to it."""

    similarity: float
    picture: int  # its place in the data set
    seed: int
    training: int  # index in the training split


@dataclass
class Tally:
    """Of some of the pictures. Tallies of parts add up to that of the whole.

    `read`: how often the judge took a picture of one class for one of another, or of the same: (asked, read) → count.
    `similarity`: how many pictures lie in each of `BINS`. `tries`: of pictures that were not the first to be drawn in their
    place, how many were. `refused`: by reason and class.
    """

    read: Counter[tuple[int, int]] = field(default_factory=Counter)
    similarity: list[int] = field(default_factory=lambda: [0] * BINS)
    closest: list[Close] = field(default_factory=list)
    tries: dict[int, int] = field(default_factory=dict)
    refused: dict[str, Counter[int]] = field(default_factory=dict)

    def compared(self, found: Iterable[Close]) -> None:
        """Pictures whose similarity was looked up."""
        found = list(found)
        for close in found:
            self.similarity[min(BINS - 1, max(0, int(close.similarity * BINS)))] += 1
        self.closest = sorted([*self.closest, *found], reverse=True)[:CLOSEST]

    def add(self, other: "Tally") -> None:
        """Makes this the tally of both."""
        self.read.update(other.read)
        self.similarity = [a + b for a, b in zip(self.similarity, other.similarity, strict=True)]
        self.closest = sorted([*self.closest, *other.closest], reverse=True)[:CLOSEST]
        self.tries |= other.tries
        for reason, counts in other.refused.items():
            self.refused.setdefault(reason, Counter()).update(counts)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the database."""
        return {
            "read": [[asked, read, count] for (asked, read), count in sorted(self.read.items())],
            "similarity": self.similarity,
            "closest": [list(vars(close).values()) for close in self.closest],
            "tries": [[picture, count] for picture, count in sorted(self.tries.items())],
            "refused": {reason: sorted(counts.items()) for reason, counts in sorted(self.refused.items())},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Tally":
        """The inverse of `as_json`."""
        return cls(
            Counter({(asked, read): count for asked, read, count in raw["read"]}),
            list(raw["similarity"]),
            [Close(*close) for close in raw["closest"]],
            dict(raw["tries"]),
            {reason: Counter(dict(counts)) for reason, counts in raw["refused"].items()},
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """Of all parts together."""
    whole = Tally()
    for part in tallies:
        whole.add(part)
    return whole


def upper_bound(wrong: int, of: int, confidence: float = 0.95) -> float:
    """The share that a count of `wrong` in a sample speaks for at most: one-sided, exact (Clopper & Pearson 1934)."""
    if wrong >= of:
        return 1.0
    ways = [math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) for k in range(wrong + 1)]
    low, high = wrong / of, 1.0
    for _ in range(50):
        share = (low + high) / 2
        so_few = sum(math.exp(w + k * math.log(share) + (of - k) * math.log1p(-share)) for k, w in enumerate(ways))
        low, high = (share, high) if so_few > 1 - confidence else (low, share)
    return high


def quantiles(bins: Sequence[int], shares: Sequence[float]) -> list[float | None]:
    """The similarities that these shares of the pictures stay below, to the upper edge of a bin; None of no pictures."""
    of, found = sum(bins), []
    for share in shares:
        seen, at = 0, 0
        while at < len(bins) - 1 and seen + bins[at] < share * of:
            seen += bins[at]
            at += 1
        found.append((at + 1) / len(bins) if of else None)
    return found
