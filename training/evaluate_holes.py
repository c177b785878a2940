"""Measures how well holes are filled: of pictures that were never trained on, in 8 bits, only inside the hole.

Beside two fills that know nothing of the data: the mean of the known pixels, and the biharmonic equation, which goes on
smoothly from the edge inwards (Damelin and Hoang 2018, as scikit-image solves it).
"""

import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from models.checkpoint import Checkpoint
from models.families.inpaint import InpaintHParams, with_hole
from models.inversion import LEG, START, STEPS, Descent, blended, context_weights, first_state
from models.latents import latents
from models.manifest import Metric
from models.pixels import from_uint8, to_uint8
from models.progress import Progress
from training.holes import centre_holes, random_holes

HOLES: dict[str, Callable[[int, int], Tensor]] = {"centre": centre_holes, "random": random_holes}
HOLES_SEED = 0
MICRO_BATCH = 16
WAYS = 8  # to fill the same hole, for what they differ by

# pictures (B, C, S, S) in [-1, 1], holes (B, 1, S, S), and the number of the first → filled pictures
Fill = Callable[[Tensor, Tensor, int], Tensor]


def fill_of_mean(x: Tensor, hole: Tensor, first: int) -> Tensor:
    """The mean colour of what is known."""
    del first
    known = 1 - hole
    mean = (x * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True)
    return torch.where(hole > 0, mean, x)


def fill_biharmonic(x: Tensor, hole: Tensor, first: int) -> Tensor:
    """As smooth as can be."""
    del first
    filled = [
        inpaint_biharmonic(picture.permute(1, 2, 0).double().numpy(), mask[0].numpy() > 0, channel_axis=-1)
        for picture, mask in zip(x, hole, strict=True)
    ]
    return torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2).float()


def fill_in_one_pass(checkpoint: Checkpoint, seed: int = 0) -> Fill:
    """By a generator that has learned to; picture i with seed + i."""
    hparams = checkpoint.hparams
    assert isinstance(hparams, InpaintHParams)

    def fill(x: Tensor, hole: Tensor, first: int) -> Tensor:
        z = latents(range(seed + first, seed + first + len(x)), hparams.z_dim)
        made: Tensor = checkpoint.generator(with_hole(x, hole), z)
        return made

    return fill


def fill_by_search(checkpoint: Checkpoint) -> Fill:
    """By a search for latents, and a blend (Yeh et al. 2017); picture i from seed i."""
    descent = Descent(checkpoint.generator, checkpoint.extras.get("discriminator"))
    z_dim = checkpoint.latent.z_dim

    def fill(x: Tensor, hole: Tensor, first: int) -> Tensor:
        target, weights = x * (1 - hole), context_weights(hole)
        state = first_state(latents(range(first, first + len(x)), z_dim) * START)
        for _ in range(STEPS // LEG):
            state = descent(target, weights, state)
        return blended(checkpoint.generator(state[:, :z_dim]), x, hole)

    return fill


@torch.no_grad()
def measure_holes(images: Tensor, ways: dict[str, Fill], progress: Progress, note: str) -> dict[str, Metric]:
    """PSNR inside the hole of images uint8 (N, C, S, S), for each shape of hole and each way to fill it."""
    metrics: dict[str, Metric] = {}
    for shape in HOLES:
        for way, fill in {"mean": fill_of_mean, "biharmonic": fill_biharmonic, **ways}.items():
            values = []
            for x, hole, first in _with_holes(images, shape):
                values += psnr_inside(to_uint8(fill(from_uint8(x), hole, first)).permute(0, 3, 1, 2), x, hole).tolist()
                progress(f"filling {shape} holes, {way}", min(1.0, len(values) / len(images)))
            what = f"PSNR, dB, of the pixels inside a {shape} hole, mean over {len(values):,} held-out pictures"
            metrics[f"psnr_{shape}_{way}"] = Metric(
                value=statistics.fmean(values),
                spread=statistics.stdev(values),
                floor=None,
                n=len(values),
                protocol=f"{what}, {TOLD[way]}.{note}",
            )
    return metrics


TOLD = {
    "mean": "filled with the mean of the known pixels",
    "biharmonic": "filled by the biharmonic equation (scikit-image)",
    "filled": "filled in one pass, picture i with seed i",
    "searched": "filled by a search for latents from seed i, and blended",
}


@torch.no_grad()
def inpainting(checkpoint: Checkpoint, images: Tensor, progress: Progress, note: str) -> dict[str, Metric]:
    """Of a model that has learned to fill holes: PSNR beside the baselines, and how much its ways to fill one hole differ."""
    metrics = measure_holes(images, {"filled": fill_in_one_pass(checkpoint)}, progress, note)
    for shape in HOLES:
        values = []
        for x, hole, first in _with_holes(images, shape):
            fills = [fill_in_one_pass(checkpoint, seed * len(images)) for seed in range(WAYS)]
            made = torch.stack([to_uint8(fill(from_uint8(x), hole, first)).float() for fill in fills])
            spread = made.std(dim=0, correction=0).mean(dim=3)
            values += ((spread * hole[:, 0]).sum(dim=(1, 2)) / hole.sum(dim=(1, 2, 3))).tolist()
        protocol = f"Standard deviation between {WAYS} ways to fill a {shape} hole, mean over its pixels, in 8-bit steps.{note}"
        metrics[f"diversity_{shape}"] = Metric(
            value=statistics.fmean(values), spread=statistics.stdev(values), floor=0.0, n=len(values), protocol=protocol
        )
    return metrics


def _with_holes(images: Tensor, shape: str) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Pictures and holes, batch by batch, the same at every call; and the number of the first in each batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(HOLES_SEED)
        holes = HOLES[shape](len(images), images.shape[3])
    for first in range(0, len(images), MICRO_BATCH):
        part = slice(first, first + MICRO_BATCH)
        yield images[part], holes[part], first


def psnr_inside(a: Tensor, b: Tensor, hole: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB of uint8 pictures (B, C, S, S), of what lies in the hole (B, 1, S, S) alone."""
    difference = (a.double() - b.double()) * hole
    mean = difference.square().sum(dim=(1, 2, 3)) / (hole.sum(dim=(1, 2, 3)) * a.shape[1])
    return 10 * torch.log10(255.0**2 / mean.clamp_min(1e-3))  # of equal ones: 78 dB
