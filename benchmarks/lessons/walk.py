"""Lesson: the way between two latents is a smooth one, and all of it looks real."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.lessons.arithmetic import Draw
from models.classifier import Classifier, predict
from models.latents import latents, slerp

WALKS, STEPS = 64, 16


@dataclass(frozen=True)
class Walk:
    """In a classifier's features, means over walks: the largest step and the first-to-last distance, in mean steps.

    `jump` near 1 is even, `STEPS` is a single leap. `sure`: the classifier's mean confidence in the frames between, and
    `sure_ends` in the first and last ones: lower in between means pictures of nothing.
    """

    jump: float
    distance: float
    sure: float
    sure_ends: float
    pictures: Tensor  # uint8 (4, frames, C, H, W), of the first walks


def walked(draw: Draw, z_dim: int, encoder: Classifier) -> Walk:
    """Between the latents of seeds 2i and 2i + 1."""
    t = torch.arange(STEPS + 1) / STEPS
    ends = latents(range(2 * WALKS), z_dim)
    frames = torch.stack([draw(slerp(ends[2 * i], ends[2 * i + 1], t)) for i in range(WALKS)])
    seen = predict(encoder, frames.flatten(0, 1))
    features = seen.features.unflatten(0, (WALKS, STEPS + 1))  # type: ignore[no-untyped-call]
    steps = (features[:, 1:] - features[:, :-1]).norm(dim=2)
    mean = steps.mean(dim=1)
    sure = seen.logits.softmax(dim=1).amax(dim=1).reshape(WALKS, STEPS + 1)
    return Walk(
        jump=(steps.amax(dim=1) / mean).mean().item(),
        distance=((features[:, -1] - features[:, 0]).norm(dim=1) / mean).mean().item(),
        sure=sure[:, 1:-1].mean().item(),
        sure_ends=sure[:, [0, -1]].mean().item(),
        pictures=frames[:4],
    )
