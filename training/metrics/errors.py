"""How often a classifier is wrong, as papers on learning from few labels tell it."""

import torch
from torch import nn

from models.classifier import BATCH_OF_PREDICTIONS, prepare
from training.data import LabelledImages


@torch.inference_mode()
def errors_per_10000(classifier: nn.Module, data: LabelledImages) -> float:
    """Of pictures whose likeliest class is not their label, so many in 10,000. `classifier`: images → logits (B, K)."""
    read = torch.cat([classifier(prepare(part)).argmax(dim=1) for part in torch.split(data.images, BATCH_OF_PREDICTIONS)])
    return 10_000 * (read != data.labels).double().mean().item()
