"""Lessons: a discriminator learns features. Its filters drawn, and a linear probe of them, trained against random."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.pixels import from_uint8

GRID = 4  # maps are pooled to so many cells a side, as in the paper
WEIGHT_DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)  # of which the best on a fifth of the training pictures is taken
HELD = 0.2
LBFGS_STEPS = 200


@torch.inference_mode()
def probed(discriminator: nn.Module, images: Tensor) -> Tensor:
    """All convolutions' maps of pictures uint8 (N, C, H, W), max-pooled to 4x4 cells: (N, D) float32."""
    rows = []
    for part in torch.split(images, 200):
        x, maps = from_uint8(part), []
        for layer in list(discriminator.layers)[:-1]:  # type: ignore[arg-type]
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(F.adaptive_max_pool2d(x, GRID).flatten(1))
        rows.append(torch.cat(maps, dim=1))
    return torch.cat(rows)


@dataclass(frozen=True)
class Probe:
    """A linear classifier's accuracy on test pictures, and the weight decay it took."""

    accuracy: float
    weight_decay: float


def probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> Probe:
    """Logistic regression on standardised features (N, D) with labels (N,)."""
    mean, deviation = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    held, kept = order[: int(HELD * len(train))], order[int(HELD * len(train)) :]
    classes = int(train_labels.max()) + 1

    def accuracy(weights: nn.Linear, x: Tensor, y: Tensor) -> float:
        return (weights(x).argmax(dim=1) == y).float().mean().item()

    chosen = {d: accuracy(fitted(train[kept], train_labels[kept], classes, d), train[held], train_labels[held])
              for d in WEIGHT_DECAYS}  # fmt: skip
    best = max(WEIGHT_DECAYS, key=chosen.__getitem__)
    return Probe(accuracy(fitted(train, train_labels, classes, best), test, test_labels), best)


def fitted(x: Tensor, y: Tensor, classes: int, weight_decay: float) -> nn.Linear:
    """Weights that minimise cross-entropy and weight decay, by L-BFGS."""
    layer = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(x), y) + weight_decay / 2 * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return layer.requires_grad_(False)


def seen_by(discriminator: nn.Module, images: Tensor, filters: int) -> Tensor:
    """What excites filters of the last hidden layer: guided backpropagation, uint8 (filters, C, H, W).

    Springenberg et al. 2014 (https://arxiv.org/abs/1412.6806), as the paper does. Of each filter, for the picture that excites
    it most, the gradient with respect to that picture in which only what excites is passed on; stretched around mid-grey.
    """
    layers = list(discriminator.layers)[:-1]  # type: ignore[arg-type]
    with torch.inference_mode():
        top = torch.cat([peaks(layers, from_uint8(part)) for part in torch.split(images, 200)])  # (N, filters)
    strongest = top.amax(dim=0).argsort(descending=True)[:filters].tolist()
    drawn = []
    for index in strongest:
        x = from_uint8(images[top[:, index].argmax()][None]).requires_grad_()
        (gradient,) = torch.autograd.grad(guided(layers, x)[0, index].max(), x)
        drawn.append(gradient[0] / gradient.abs().max().clamp(min=1e-12))
    return (torch.stack(drawn) * 127 + 128).clamp(0, 255).to(torch.uint8)


def peaks(layers: list[nn.Module], x: Tensor) -> Tensor:
    """The largest answer of each filter of the last layer to each picture, (N, filters)."""
    for layer in layers:
        x = layer(x)
    return x.amax(dim=(2, 3))


def guided(layers: list[nn.Module], x: Tensor) -> Tensor:
    """The last layer's maps; backwards, activations pass on what is positive, and only where they were."""
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU) and x.requires_grad:
            x.register_hook(partial(exciting, (x > 0).detach()))
    return x


def exciting(active: Tensor, gradient: Tensor) -> Tensor:
    """What of a gradient is positive, where a layer was active."""
    return gradient.clamp(min=0) * active
