"""Do an InfoGAN's categories mean what people mean? Labels, which training never saw, are matched with them one to one."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from models.codes import Code, category
from models.families.infogan import InfoGanHParams, Recogniser
from models.latents import latents
from models.pixels import from_uint8
from training.config import InfoConfig
from training.data import LabelledImages


@dataclass(frozen=True)
class Matching:
    """The label of each category, (K,), -1 where there are fewer labels; and the share of pictures for which it is right."""

    labels: Tensor
    share: float

    def accuracy(self, categories: Tensor, labels: Tensor) -> float:
        """The share of pictures whose category (N,) has the label (N,) that it was matched with."""
        return (self.labels[categories] == labels).double().mean().item()


def matched(categories: Tensor, labels: Tensor, count: int, classes: int) -> Matching:
    """The best one-to-one matching of `count` categories (N,) with `classes` labels (N,). Kuhn 1955."""
    together = torch.zeros(count, classes, dtype=torch.int64)
    together.index_put_((categories, labels), torch.ones_like(categories), accumulate=True)
    rows, columns = linear_sum_assignment(together.numpy(), maximize=True)
    found = torch.full((count,), -1)
    found[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return Matching(found, together[rows, columns].sum().item() / len(categories))


@torch.inference_mode()
def categories_read(recogniser: Recogniser, images: Tensor, count: int) -> Tensor:
    """The category (N,) that a recogniser sees in each picture, uint8 (N, C, H, W)."""
    read = [recogniser(from_uint8(part))[:, :count].argmax(dim=1) for part in torch.split(images, 500)]
    return torch.cat(read)


def categories_asked(hparams: InfoGanHParams, count: int) -> Tensor:
    """The categories of seeds 0, 1, 2, … (count,)."""
    z = latents(range(count), hparams.z_dim)
    return category(z[:, hparams.noise_dim], hparams.categories).argmax(dim=1)


def described(info: InfoConfig, hparams: InfoGanHParams, recogniser: Recogniser, data: LabelledImages) -> tuple[Code, ...]:
    """The codes for a manifest. Categories are called after the labels they match, where there are labels, else 1, 2, …"""
    values = [str(i + 1) for i in range(hparams.categories)]
    if data.classes:
        read = categories_read(recogniser, data.images, hparams.categories)
        match = matched(read, data.labels, hparams.categories, data.classes)
        values = [data.label_names[k] if k >= 0 else f"other {i + 1}" for i, k in enumerate(match.labels.tolist())]
    name, *others = info.names
    return Code(name=name, kind="category", values=tuple(values)), *(Code(name=n, kind="continuous") for n in others)
