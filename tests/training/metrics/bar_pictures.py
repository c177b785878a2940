"""A world of tiny pictures that a tiny classifier learns in a second: bars, whose direction and place are their class."""

import torch

from models.classifier import Design, Recipe
from training.data import LabelledImages

NAMES = ("left", "right", "top", "bottom")
TINY = Recipe(Design("pooled", (4, 8, 16, 16), features=16), images=3_200, batch=32, learning_rate=1e-2)


def bars(count: int, seed: int) -> LabelledImages:
    """Pictures (count, 1, 16, 16) of a bright bar in one of four places over noise, no two alike."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    pixels = torch.rand(count, 1, 16, 16, generator=generator) * 90
    places = torch.randint(1, 6, (count,), generator=generator).tolist()
    for i, (label, place) in enumerate(zip(labels.tolist(), places, strict=True)):
        at = slice(place, place + 2) if label % 2 == 0 else slice(14 - place, 16 - place)
        pixels[(i, 0, slice(None), at) if label < 2 else (i, 0, at)] += 150
    order = torch.randperm(count, generator=generator)
    return LabelledImages(pixels.round().to(torch.uint8)[order], labels[order], NAMES)
