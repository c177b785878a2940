"""The learning rate and growth as pure functions of images seen: nothing to save, nothing to get wrong on resuming."""

import bisect
import itertools
import math
from collections.abc import Sequence

from models.families.progressive import Stage
from training.config import GrowthConfig


def rate_factor(images: int, total_images: int, warmup_images: int, decay_from: float, final: float) -> float:
    """What to multiply the learning rate with after `images` of `total_images`.

    Rises linearly over `warmup_images`, is 1 until the fraction `decay_from` of the run, then falls on half a
    cosine to `final`.
    """
    warmup = min(1.0, (images + 1) / warmup_images) if warmup_images else 1.0
    progress = images / total_images
    if progress <= decay_from:
        return warmup
    position = (progress - decay_from) / (1 - decay_from)
    return warmup * (final + (1 - final) * (1 + math.cos(math.pi * min(position, 1.0))) / 2)


def stage_at(images: int, growth: GrowthConfig, resolutions: Sequence[int]) -> Stage:
    """How far networks have grown after `images`, that draw pictures of these `resolutions`, px, ascending.

    The smallest level is there from the start; each other one fades in linearly. Without `growth.images`: full-grown.
    """
    if not growth.images:
        return Stage(resolutions[-1])
    starts = [0, *itertools.accumulate(growth.images)]
    level = bisect.bisect_right(starts, images) - 1
    faded = (images - starts[level]) / growth.fade if level and growth.fade else 1.0
    return Stage(resolutions[level], min(1.0, faded))
