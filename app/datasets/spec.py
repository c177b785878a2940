"""What a data set is to hold, worked out to the last picture before the first one is drawn. Pure functions of the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FormatName = Literal["imagefolder", "webdataset", "parquet", "idx", "npz"]
ORDER_STREAM = 1  # of the random numbers that decide the order; pictures have stream 0 of their own seeds


@dataclass(frozen=True)
class Filter:
    """Which pictures are drawn again. Without limits: none.

    `min_confidence`, `max_confidence`: 0 … 1, of the class that was asked for, as a classifier of the real pictures sees it:
    below the band labels are wrong, above it pictures teach little. `max_similarity`: 0 … 1, to the nearest training picture
    (see `models.copies`).
    """

    min_confidence: float | None = None
    max_confidence: float | None = None
    max_similarity: float | None = None

    def as_json(self) -> dict[str, float]:
        """The limits that there are."""
        return {name: limit for name, limit in vars(self).items() if limit is not None}

    @property
    def reads(self) -> bool:
        """Whether it asks a classifier."""
        return self.min_confidence is not None or self.max_confidence is not None

    def passes(self, confidence: float) -> bool:
        """Whether a picture may stay of whose class the classifier is so sure."""
        low, high = self.min_confidence, self.max_confidence
        return (low is None or confidence >= low) and (high is None or confidence <= high)


@dataclass(frozen=True)
class DatasetOrder:
    """A request. Either `counts`, pictures by name or index of a class, or `per_class`."""

    model: str | None
    name: str | None
    counts: Mapping[str, int] | None
    per_class: int | None
    seed: int | None  # None: a random one
    truncation: float
    format: FormatName
    shard_size: int
    split: Mapping[str, float]
    filter: Filter = Filter()
    measure_usefulness: bool = False
    webhook: str | None = None


@dataclass(frozen=True)
class Limits:
    """What the service's owner allows."""

    max_pictures: int  # of one data set
    max_jobs: int  # finished ones included
    quota_bytes: int  # of all files
    retention_s: float  # from a job's end
    lesson_pictures: int  # that each classifier learns from which measures usefulness


@dataclass(frozen=True)
class Spec:
    """An order, completed: it and the model's weights decide every byte.

    `counts`: how many of each class, by index; a model without classes has one count. `split`: shares that add up to 1.
    """

    model: str
    version: int
    label_names: tuple[str, ...]
    counts: tuple[int, ...]
    seed: int
    truncation: float
    format: FormatName
    shard_size: int  # pictures
    split: Mapping[str, float]
    filter: Filter = Filter()

    @property
    def total(self) -> int:
        """Pictures in all."""
        return sum(self.counts)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the database and in the data set's own report."""
        return {
            "model": self.model,
            "version": self.version,
            "label_names": list(self.label_names),
            "counts": list(self.counts),
            "seed": self.seed,
            "truncation": self.truncation,
            "format": self.format,
            "shard_size": self.shard_size,
            "split": dict(self.split),
            "filter": self.filter.as_json(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Spec":
        """The inverse of `as_json`."""
        lists = {name: tuple(raw[name]) for name in ("label_names", "counts")}
        return cls(**{**raw, **lists, "filter": Filter(**raw.get("filter", {}))})


@dataclass(frozen=True)
class Shard:
    """Pictures `start` to `stop` of the data set; the `number`-th part of its split."""

    split: str
    number: int
    of: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Contents:
    """Every picture of a data set: picture i has class `labels[i]`. Splits follow one another."""

    labels: NDArray[np.int32]
    sizes: Mapping[str, int]  # of each split, in order
    shards: Sequence[Shard]


def contents(spec: Spec) -> Contents:
    """Classes are exact in all and in each split, and mixed within a split by an order that the seed alone decides."""
    per_split = [shared(count, tuple(spec.split.values())) for count in spec.counts]
    labels, sizes = [], {}
    for i, name in enumerate(spec.split):
        of_split = np.repeat(np.arange(len(spec.counts), dtype=np.int32), [shares[i] for shares in per_split])
        sizes[name] = len(of_split)
        labels.append(of_split[shuffled(len(of_split), spec.seed, i)])
    shards, at = [], 0
    for name, size in sizes.items():
        of = -(-size // spec.shard_size)
        for number in range(of):
            stop = min((number + 1) * spec.shard_size, size)
            shards.append(Shard(name, number, of, at + number * spec.shard_size, at + stop))
        at += size
    return Contents(np.concatenate(labels), sizes, tuple(shards))


def shared(count: int, shares: Sequence[float]) -> list[int]:
    """A count divided by shares that add up to 1, by largest remainders: the parts add up to the count."""
    exact = [count * share for share in shares]
    parts = [int(part + 1e-9) for part in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: count - sum(parts)]:
        parts[i] += 1
    return parts


def shuffled(count: int, seed: int, split: int) -> NDArray[np.intp]:
    """An order of `count` things: that of the raw words of Philox-4x64-10, which NumPy keeps for ever."""
    philox = np.random.Philox(key=np.array([seed, ORDER_STREAM], np.uint64), counter=np.array([0, 0, 0, split], np.uint64))
    return np.argsort(philox.random_raw(count), kind="stable")
