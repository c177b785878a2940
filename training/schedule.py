"""The learning rate as a pure function of images seen: nothing to save, nothing to get wrong on resuming."""

import math


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
