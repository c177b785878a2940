"""Techniques against collapse and oscillation, for families with one network against another: switches of `[stabilisers]`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.config import ConfigError, StabiliserConfig, TrainConfig
from training.stabilisers.batch_statistics import tell_of_batch
from training.stabilisers.layers import LinearMaker
from training.stabilisers.packing import Packed, pack
from training.stabilisers.virtual_norm import VirtuallyNormed


def stabilised(
    make: Callable[[int], nn.Module],
    config: StabiliserConfig,
    example: tuple[Tensor, ...],
    *,
    linear: LinearMaker = nn.Linear,
    members: int = 1,
) -> nn.Module:
    """A discriminator with what `config` asks for; the plain one if it asks for nothing.

    `make` gives the plain one for so many times the channels. `example`: inputs of one picture (a row for each of `members`
    networks that lie side by side), of which only shapes count. Raises `ConfigError` for what does not fit labels.
    """
    if len(example) > 1 and (config.pack > 1 or config.virtual_batch):
        raise ConfigError("stabilisers: pack and virtual_batch are for families without labels: no pack is of one class")
    network = make(config.pack)
    packed = pack(example[0].repeat_interleave(config.pack, dim=0), config.pack)
    if config.virtual_batch:
        rows = config.virtual_batch // config.pack
        network = VirtuallyNormed(network, torch.zeros_like(packed).repeat_interleave(rows, dim=0), members)
    if config.minibatch != "none":
        tell_of_batch(network, config, linear, lambda: network(packed, *example[1:]))
    return Packed(network, config.pack) if config.pack > 1 else network


def is_plain(config: StabiliserConfig) -> bool:
    """Whether a discriminator under `config` is its family's own, which can be published."""
    return config.minibatch == "none" and not config.virtual_batch and config.pack == 1


def give_reference(discriminator: nn.Module, real: Tensor) -> None:
    """Tells a discriminator with virtual batch norm which real pictures (`virtual_batch` of each member, C, H, W) to go by."""
    size = discriminator.size if isinstance(discriminator, Packed) else 1
    for module in discriminator.modules():
        if isinstance(module, VirtuallyNormed):
            module.reference.copy_(pack(real, size))


SIZES = ("kernels", "kernel_size", "unrolled_rate")  # of what other keys switch on: alone they change nothing


def refuse_duels(config: TrainConfig) -> None:
    """Raises `ConfigError` if a config asks for what only families with one generator and one discriminator can use."""
    default = TrainConfig.model_fields["stabilisers"].default
    asked = [name for name, value in config.stabilisers if name not in SIZES and value != getattr(default, name)]
    asked += [name for name in ("clip", "gradient_penalty") if getattr(config.loss, name)]
    asked += ["d_steps"] if config.optimizer.d_steps > 1 else []
    if asked:
        raise ConfigError(f"family '{config.family}' can't use {', '.join(asked)}: mlp, dcgan, conditional and progressive can")
