"""A task for data without labels: which way up is this picture? Gidaris et al. 2018, https://arxiv.org/abs/1803.07728."""

import torch

from training.data import LabelledImages

TURNS = ("upright", "quarter left", "half", "quarter right")


def rotated(data: LabelledImages) -> LabelledImages:
    """Every picture turned by its index modulo 4 quarter turns, which is its label. Pictures are square."""
    labels = torch.arange(len(data)) % len(TURNS)
    images = data.images.clone()
    for turns in range(1, len(TURNS)):
        images[labels == turns] = images[labels == turns].rot90(turns, dims=(2, 3))
    return LabelledImages(images, labels, TURNS)
