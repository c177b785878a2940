"""Perceptrons, many at a time: one network a seed, all of one shape, computed as one.

A matrix product of small matrices costs less than the call that asks for it. Eight seeds side by side take little longer than
one, which is what makes a study over seeds a matter of seconds. Members never meet: each goes as it would alone.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.blocks import SLOPE

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky": lambda: nn.LeakyReLU(SLOPE), "tanh": nn.Tanh}


class Members(nn.Module):
    """A linear layer of each member: (members, B, inputs) → (members, B, outputs). Member i's start is drawn by generator i."""

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.out_features = outputs
        # He et al. 2015, https://arxiv.org/abs/1502.01852
        start = [torch.randn(inputs, outputs, generator=g) * math.sqrt(2 / inputs) for g in generators]
        self.weight = nn.Parameter(torch.stack(start))
        self.bias = nn.Parameter(torch.zeros(len(start), 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class Perceptron(nn.Module):
    """Points (members · B, inputs) → (members · B, outputs), or (members · B,) if there is one output and `squeeze`.

    Member i's points are the i-th of equal shares, so that to the outside this is a network like any other.
    """

    def __init__(self, layers: nn.Sequential, members: int, *, squeeze: bool) -> None:
        super().__init__()
        self.layers, self.members, self.squeeze = layers, members, squeeze

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x.reshape(self.members, -1, x.shape[-1])).flatten(0, 1)
        return made.squeeze(1) if self.squeeze else made


def perceptron(
    sizes: Sequence[int],
    activation: str,
    generators: Sequence[torch.Generator],
    *,
    squeeze: bool = False,
    before: Sequence[nn.Module] = (),
) -> Perceptron:
    """Layers of these sizes with an activation between each two, behind those `before`; a member for each generator."""
    layers: list[nn.Module] = [*before]
    for a, b in itertools.pairwise(sizes):
        layers += [Members(a, b, generators), ACTIVATIONS[activation]()]
    return Perceptron(nn.Sequential(*layers[:-1]), len(generators), squeeze=squeeze)


class Waves(nn.Module):
    """Points (…, D) → (…, D·(1 + 2·octaves)): themselves, and sines and cosines of them.

    The longest wave is twice `reach`; each next one has half its length, and `fall` times its height. Fourier features, Tancik
    et al. 2020, https://arxiv.org/abs/2006.10739: small networks are slow to see fine detail without them. A generator that is
    judged by detail before it has found all modes stays where it is, so `open` lets waves in one after another, long ones
    first, as in Lin et al. 2021, https://arxiv.org/abs/2104.06405.
    """

    def __init__(self, octaves: int, reach: float, fall: float = 0.5) -> None:
        super().__init__()
        self.rates = [math.pi / reach * 2**i for i in range(octaves)]
        self.heights = self.full = [fall**i for i in range(octaves)]

    def open(self, share: float) -> None:
        """Lets in this share, 0 … 1, of the octaves; of the last one a part."""
        octaves = len(self.full)
        self.heights = [height * min(1.0, max(0.0, share * octaves - i)) for i, height in enumerate(self.full)]

    def forward(self, x: Tensor) -> Tensor:
        both = zip(self.rates, self.heights, strict=True)
        waves = [height * wave(rate * x) for rate, height in both for wave in (torch.sin, torch.cos)]
        return torch.cat([x, *waves], dim=-1)


class SpectralNorm(nn.Module):
    """Divides each member's matrix by its largest singular value. See `training.losses.normalise_spectrally`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.u: Tensor
        self.register_buffer("u", nn.functional.normalize(torch.ones_like(weight[:, :, :1]), dim=1))
        for _ in range(15):
            self._iterate(weight)

    @torch.no_grad()
    def _iterate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        v = nn.functional.normalize(weight.mT @ self.u, dim=1)
        self.u.copy_(nn.functional.normalize(weight @ v, dim=1))
        return self.u.clone(), v

    def forward(self, weight: Tensor) -> Tensor:
        u, v = self._iterate(weight)
        return weight / (u.mT @ weight @ v)


def normalise_members(network: nn.Module) -> None:
    """Puts spectral norm on every layer of every member, in place."""
    for layer in list(network.modules()):
        if isinstance(layer, Members):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight.detach()))
