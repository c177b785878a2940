"""Small fixed classifiers, trained on the data set itself: the features and the labels that every measurement stands on.

Two designs: `FEATURES` embeds pictures for distances (and is trained on generated ones for CAS), `JUDGE` reads labels. They
differ in architecture, width and seed, so that what fools one need not fool the other. Neither takes part in training a GAN
(`training.guide` trains one of its own).
Changing anything here changes every published number: raise PROTOCOL with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.pixels import from_uint8
from models.progress import Progress, silent

PROTOCOL = 1
BATCH_OF_PREDICTIONS = 500


@dataclass(frozen=True)
class Design:
    """An architecture: the feature maps of its four convolutions, and how many penultimate features it has."""

    kind: Literal["pooled", "strided"]
    widths: tuple[int, int, int, int]
    features: int = 128


@dataclass(frozen=True)
class Recipe:
    """Everything but the data and the seed that decides a classifier's weights."""

    design: Design
    images: int = 300_000  # pictures seen, with repetition
    batch: int = 64
    learning_rate: float = 3e-3  # highest point of the one-cycle schedule
    weight_decay: float = 0.02
    shift_px: int = 1  # random shifts of up to this many pixels

    @property
    def steps(self) -> int:
        """Optimizer steps, whatever the size of the data: real and generated sets are trained on equally long."""
        return max(1, self.images // self.batch)


FEATURES = Recipe(Design("pooled", (24, 48, 96, 128)))
JUDGE = Recipe(Design("strided", (32, 48, 96, 96), features=96))


def _block(inputs: int, outputs: int, *, kernel: int, stride: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    padding = 1  # keeps the side for 3x3, halves it for 4x4 stride 2 and for 3x3 stride 2 (rounding up)
    convolution = nn.Conv2d(inputs, outputs, kernel_size=kernel, stride=stride, padding=padding, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), activation()]


class Classifier(nn.Module):
    """Pictures (B, channels, side, side) in [-1, 1] → logits (B, classes). Sides from 8 px, grey or colour.

    "pooled" is 3x3 convolutions with ReLU and max-pooling, "strided" has no pooling, 4x4 kernels and leaky ReLU. Both end
    in a 4x4 map (of which a global average would need several times the training) and one hidden layer, the features. Sides
    above 40 px are halved by strided convolutions first.
    """

    def __init__(self, design: Design, *, side: int, channels: int, classes: int) -> None:
        super().__init__()
        a, b, c, d = design.widths
        layers: list[nn.Module] = []
        pooled = design.kind == "pooled"

        def block(inputs: int, outputs: int, *, halve: bool = False) -> list[nn.Module]:
            if pooled:
                return _block(inputs, outputs, kernel=3, stride=2 if halve else 1, activation=nn.ReLU)
            kernel, stride = (4, 2) if halve else (3, 1)
            return _block(inputs, outputs, kernel=kernel, stride=stride, activation=lambda: nn.LeakyReLU(0.1))

        inputs = channels
        while side > 80:
            layers += block(inputs, a, halve=True)
            side, inputs = (side + 1) // 2, a
        if pooled:
            layers += [*block(inputs, a, halve=side > 40), nn.MaxPool2d(2), *block(a, b), nn.MaxPool2d(2)]
            layers += [*block(b, c), *block(c, d, halve=True)]
        else:
            layers += [*block(inputs, a, halve=True), *block(a, b, halve=side > 40), *block(b, c, halve=True), *block(c, d)]
        hidden = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * d, design.features), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, *hidden)
        self.head = nn.Linear(design.features, classes)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What it makes of pictures, from textures to classes: (B, C, H, W) after 2 and 4 convolutions, and the features."""
        seen = []
        for layer in self.trunk:
            x = layer(x)
            if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                seen.append(x)
        return [seen[1], seen[3], seen[-1]]

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features (B, design.features), none negative."""
        features: Tensor = self.trunk(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def prepare(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) → float in [-1, 1], in the memory format in which CPU convolutions are fastest."""
    return from_uint8(images).contiguous(memory_format=torch.channels_last)


def augment(x: Tensor, *, shift_px: int, mirror: bool) -> Tensor:
    """Moves a batch (B, C, H, W) by up to `shift_px` px, repeating its edges, and mirrors each picture with probability ½."""
    if mirror:
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    if not shift_px:
        return x
    height, width = x.shape[2:]
    # one shift for the batch: a shift for each picture would cost more than it brings
    top, left = torch.randint(0, 2 * shift_px + 1, (2,)).tolist()
    padded = F.pad(x, (shift_px,) * 4, mode="replicate")
    return padded[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)


def batches(count: int, batch: int, steps: int) -> Iterator[Tensor]:
    """Indices (batch,) for each step: whole passes in random order, so that every picture is seen equally often."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(count)])
        yield order[:batch]
        order = order[batch:]


def train_classifier(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    recipe: Recipe,
    seed: int,
    mirror: bool = False,
    progress: Progress = silent,
) -> Classifier:
    """Trains on uint8 images (N, C, H, W) with int64 labels (N,) for the recipe's full length; there is no early stopping.

    AdamW with a one-cycle learning rate (Smith 2018, https://arxiv.org/abs/1803.09820). In float32 on any hardware:
    its numbers are to compare. Returns the network in eval mode and leaves the global random state as it was. Equal arguments
    give equal weights on one machine with one number of threads.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(recipe.design, side=images.shape[-1], channels=images.shape[1], classes=classes)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=max(10, recipe.steps), pct_start=0.25
        )
        network.train()
        for step, index in enumerate(batches(len(images), recipe.batch, recipe.steps)):
            x = augment(prepare(images[index]), shift_px=recipe.shift_px, mirror=mirror)
            loss = F.cross_entropy(network(x), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            progress("training a classifier", (step + 1) / recipe.steps)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Prediction:
    """What a classifier makes of N pictures: features (N, D) and logits (N, classes), float32."""

    features: Tensor
    logits: Tensor

    @property
    def labels(self) -> Tensor:
        """The likeliest class of each picture, int64 (N,)."""
        return self.logits.argmax(dim=1)


@torch.inference_mode()
def predict(network: Classifier, images: Tensor) -> Prediction:
    """Features and logits of uint8 images (N, C, H, W)."""
    network.eval()
    features = torch.cat([network.features(prepare(part)) for part in torch.split(images, BATCH_OF_PREDICTIONS)])
    return Prediction(features, network.head(features))


def recalls(predicted: Tensor, labels: Tensor, classes: int) -> tuple[float, ...]:
    """Share of each class's pictures that are recognised; NaN for a class without pictures."""
    hits = torch.bincount(labels[predicted == labels], minlength=classes).double()
    return tuple((hits / torch.bincount(labels, minlength=classes)).tolist())
