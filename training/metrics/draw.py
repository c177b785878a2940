"""Pictures of a checkpoint as a user of the service would get them: latents by seed, full truncation range, 8 bits."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.latents import latents, one_hot
from models.pixels import to_uint8

MICRO_BATCH = 100


def asked_labels(real: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Labels to ask for, int64 (count,): the real ones (N,) in a fixed random order, repeated if `count` is above N.

    So they have the real proportions (uniform ones would be another task where classes are unequal), and any leading part
    has nearly the same.
    """
    generator = torch.Generator().manual_seed(seed)
    rounds = [torch.randperm(len(real), generator=generator) for _ in range(-(-count // len(real)))]
    return real[torch.cat(rounds)[:count]]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, the CPU computes in one thread, as the service's lanes do: with more, pictures may differ in a last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def draw(
    checkpoint: Checkpoint,
    seeds: Sequence[int],
    labels: Sequence[int] | None = None,
    *,
    micro_batch: int = MICRO_BATCH,
) -> Iterator[Tensor]:
    """The pictures of these seeds in order, as uint8 batches (B, C, H, W) of up to `micro_batch`.

    `labels` are indices into the manifest's, one a seed, for label-conditional models; None for unconditional ones. Raises
    ValueError where that does not fit the model.
    """
    hparams = checkpoint.latent
    if (labels is not None) != bool(hparams.classes):
        raise ValueError(f"labels were {'' if labels is not None else 'not '}given for a model with {hparams.classes} classes")
    if labels is not None and len(labels) != len(seeds):
        raise ValueError(f"{len(labels)} labels for {len(seeds)} seeds")
    network = checkpoint.generator.eval()
    device = next(network.parameters()).device
    for start in range(0, len(seeds), micro_batch):
        part = slice(start, start + micro_batch)
        inputs = [latents(seeds[part], hparams.z_dim).to(device)]
        if labels is not None:
            inputs.append(one_hot(labels[part], hparams.classes).to(device))
        with one_thread():
            pictures = to_uint8(network(*inputs)).permute(0, 3, 1, 2).cpu()
        yield pictures
