"""Codes: coordinates of a latent that mean something, as InfoGAN learns them (Chen et al. 2016, https://arxiv.org/abs/1606.03657).

They are the last numbers of `z`, one a code, and standard normal as the others are: so seeds, interpolation and arithmetic know
nothing of them. The generator reads each by its distribution function: which k-th of the normal distribution it lies in is a
category, how far along it lies, from -1 to 1, is a continuous code.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from torch import Tensor

FURTHEST = 0.999  # of a continuous code: the ends themselves lie infinitely far out

CodeValue = int | float | str
CodeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Code(BaseModel):
    """One coordinate: a choice among `values`, or, without any, a number from -1 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: CodeName
    kind: Literal["category", "continuous"]
    values: tuple[str, ...] = Field((), max_length=1000)  # of a category, in the order in which the generator numbers them


class UnknownCodeError(ValueError):
    """There is no such code, or no such value of it. The message tells what there is."""


def uniform(z: Tensor) -> Tensor:
    """Standard normal numbers → uniform ones in (0, 1)."""
    shares: Tensor = torch.special.ndtr(z)
    return shares


def category(z: Tensor, count: int) -> Tensor:
    """Coordinates (B,) of a code → one-hot rows (B, count)."""
    index = (uniform(z) * count).long().clamp(max=count - 1)
    return torch.nn.functional.one_hot(index, count).to(z.dtype)


def coordinate(code: Code, wanted: CodeValue) -> float:
    """Where on its axis a code has a value: a category's name or index, or a number from -1 to 1. Raises `UnknownCodeError`."""
    if code.kind == "category":
        return middle_of(_index(code, wanted), len(code.values))
    if isinstance(wanted, str) or not -1 <= wanted <= 1:
        raise UnknownCodeError(f"'{code.name}' is a number from -1 to 1")
    return along(wanted)


def middle_of(index: int, count: int) -> float:
    """The coordinate in the middle of a category."""
    return _normal((index + 0.5) / count)


def along(degree: float) -> float:
    """The coordinate of a continuous code's value, -1 to 1."""
    return _normal((FURTHEST * degree + 1) / 2)


def _normal(share: float) -> float:
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))


def _index(code: Code, wanted: CodeValue) -> int:
    folded = [value.casefold() for value in code.values]
    text = str(wanted).strip().casefold()
    if text in folded:
        return folded.index(text)
    if isinstance(wanted, int) and 0 <= wanted < len(code.values):
        return wanted
    raise UnknownCodeError(f"'{code.name}' is one of {', '.join(code.values)}")


def with_codes(z: Tensor, codes: Sequence[Code], wanted: Mapping[str, CodeValue]) -> Tensor:
    """Latents (n, z_dim) with some codes set. Raises `UnknownCodeError`."""
    names = [code.name for code in codes]
    made = z.clone()
    for name, value in wanted.items():
        if name not in names:
            has = f"its codes are {', '.join(names)}" if names else "it has none"
            raise UnknownCodeError(f"this model has no code '{name[:40]}'; {has}")
        place = names.index(name)
        made[:, place - len(codes)] = coordinate(codes[place], value)
    return made
