"""Lesson: latents add up. Does going some way make a shirt red, and red shirts − white shirts + white shoes red shoes?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.lessons.attributes import Readers, directions
from models.latents import latents

LEARNED_FROM = 20_000  # seeds 0, 1, 2, …; later ones are changed
CHANGED = 500
LENGTHS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # of a step; a latent of 64 numbers is about 8 long
OF_EACH = 3  # latents in a mean, as in the paper
SUMS = 200
RANDOM = 0

Draw = Callable[[Tensor], Tensor]  # latents (n, z_dim) → pictures uint8 (n, C, H, W)


@dataclass(frozen=True)
class Moved:
    """What going in a value's direction does to pictures that don't show it, by the judge.

    `became`: share that then show it. `kept`: share whose other attribute stays. `by_chance`: share that show it after a step
    as long in a random direction.
    """

    value: str
    length: float
    became: float
    kept: float
    by_chance: float


def moved(value: int, of: Readers, other: Readers, draw: Draw, z_dim: int, found: Tensor, drawn: Tensor) -> Moved:
    """`found`: what the finder read in the pictures of the latents `drawn`. The length is chosen by the finder."""
    way = directions(drawn, found, len(of.attribute.values))[value]
    z = latents(range(LEARNED_FROM, LEARNED_FROM + 2 * CHANGED), z_dim)
    before = draw(z)
    without = of.found(before) != value
    tried, rest = z[without][: CHANGED // 2], z[without][CHANGED // 2 :]
    success = [(of.found(draw(tried + length * way)) == value).float().mean().item() for length in LENGTHS]
    length = LENGTHS[int(torch.tensor(success).argmax())]
    generator = torch.Generator().manual_seed(RANDOM)
    aside = torch.nn.functional.normalize(torch.randn(len(rest), z_dim, generator=generator))
    start, after, astray = draw(rest), draw(rest + length * way), draw(rest + length * aside)
    plain = of.judged(start) != value
    return Moved(
        of.attribute.values[value],
        length,
        share(of.judged(after)[plain] == value),
        share((other.judged(after) == other.judged(start))[plain]),
        share(of.judged(astray)[plain] == value),
    )


def share(which: Tensor) -> float:
    """Of those that are true."""
    return which.float().mean().item()


@dataclass(frozen=True)
class Sum:
    """a − b + c, where a shows (value, kind), b (other value, kind) and c (other value, other kind), each a mean of three.

    `both`: share of sums in which the judges see the value and the other kind. `of_mean`: share of the c's that show both.
    """

    text: str
    both: float
    of_mean: float
    pictures: Tensor  # uint8 (4, C, H, W): of a, b, c and the sum


def added(
    colours: Readers, kinds: Readers, colour: tuple[int, int], kind: tuple[int, int], draw: Draw, drawn: Tensor, found: Tensor
) -> Sum:
    """`drawn`: latents (N, z_dim); `found` (2, N): colour and kind that the finders read in their pictures."""
    generator = torch.Generator().manual_seed(RANDOM)

    def means(which_colour: int, which_kind: int) -> Tensor:
        (rows,) = torch.where((found[0] == which_colour) & (found[1] == which_kind))
        if len(rows) < OF_EACH:
            raise ValueError(f"{len(rows)} pictures show that, which are too few")
        chosen = torch.randint(len(rows), (SUMS, OF_EACH), generator=generator)
        return drawn[rows[chosen]].mean(dim=1)

    (wanted, other), (given, asked) = colour, kind
    a, b, c = means(wanted, given), means(other, given), means(other, asked)
    total = a - b + c
    pictures, before = draw(total), draw(c)

    def right(images: Tensor) -> float:
        return share((colours.judged(images) == wanted) & (kinds.judged(images) == asked))

    names, sorts = colours.attribute.values, kinds.attribute.values
    text = f"{names[wanted]} {sorts[given]} − {names[other]} {sorts[given]} + {names[other]} {sorts[asked]}"
    return Sum(text, right(pictures), right(before), torch.stack([draw(x[:1])[0] for x in (a, b, c, total)]))
