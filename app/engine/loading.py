"""From a folder of the zoo to networks that are ready: read, brought to the device, and run once."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from app.engine.device import Device, Network, Rows
from app.engine.lanes import draw
from app.engine.residents import Blend, Resident
from models.checkpoint import Checkpoint, load_checkpoint, load_reader, read_manifest
from models.errors import CheckpointError
from models.family import TranslatorHParams
from models.inversion import Descent
from models.latents import latents, one_hot

EXAMPLES = 64  # rows to prepare a network with
EXAMPLE_SEED = 0
# parts that give numbers
SEARCH, DISCRIMINATOR, CLASSIFIER, FILTER, JUDGE = "search", "discriminator", "classifier", "filter", "judge"
READ_AT_ONCE = 64  # pictures: always as many, so that what is read in one does not depend on the others
FAITHFUL = "faithful"  # the extra network between which and the generator a request's `fidelity` lies
BLENDS_KEPT = 8  # of one model
BLEND_STEPS = 100  # fidelities are told apart to a hundredth


def example_rows(checkpoint: Checkpoint) -> Rows:
    """Rows such as requests bring: the first seeds and all classes in turn; or pictures of the size that it learned on."""
    hparams = checkpoint.hparams
    if isinstance(hparams, TranslatorHParams):
        side = hparams.resolution // hparams.scale
        generator = torch.Generator().manual_seed(EXAMPLE_SEED)
        pictures = torch.rand(EXAMPLES, hparams.given_channels, side, side, generator=generator) * 2 - 1
        return (pictures, latents(range(EXAMPLES), hparams.noise_dim)) if hparams.noise_dim else (pictures,)
    z = latents(range(EXAMPLES), checkpoint.latent.z_dim)
    classes = checkpoint.latent.classes
    if not classes:
        return (z,)
    return z, one_hot([i % classes for i in range(EXAMPLES)], classes)


def load(folder: Path, device: Device, fits: Callable[[int], bool], budget: str) -> tuple[Checkpoint, Resident]:
    """Reads an entry, puts it on the device and runs it once. Raises `ModelError`.

    `fits` tells whether so many bytes of weights may be in memory; `budget` says in words how many may.
    """
    checkpoint = load_checkpoint(folder)
    drawing = {"": checkpoint.generator, **{k: v for k, v in checkpoint.extras.items() if k not in (DISCRIMINATOR, CLASSIFIER)}}
    size = sum(map(bytes_of, drawing.values()))
    if not fits(size):
        reason = f"its {size} bytes are more than the memory budget of {budget}"
        raise CheckpointError(folder, reason, "Raise GANYMEDE_MEMORY_BUDGET_MB")
    blend = _blend_of(checkpoint, device) if FAITHFUL in drawing else None  # before the networks are used up
    rows = example_rows(checkpoint)
    network = device.prepare(checkpoint.generator, rows)
    _check_drawing(folder, checkpoint, network, rows)
    loose: dict[str, Network] = {}
    if isinstance(checkpoint.hparams, TranslatorHParams):
        loose = {"": network.for_any_shape()}
        loose |= {name: device.prepare_for_any_shape(other) for name, other in drawing.items() if name not in ("", FAITHFUL)}
    return checkpoint, Resident(network, size, loose, blend)


def at_side(resolution: int) -> str:
    """The part that draws pictures of a side, px, that is not the largest."""
    return f"{resolution} px"


def load_part(folder: Path, device: Device, part: str) -> tuple[Network, int]:
    """A network of an entry that few ask for, and the bytes of its weights. Raises `ModelError`.

    `at_side(…)`: latents, and class weights if the model has classes → pictures of that side. All others answer numbers.
    `DISCRIMINATOR`: pictures, and class weights likewise → scores. `SEARCH`: see `models.inversion.Descent`. `CLASSIFIER`,
    `FILTER` and `JUDGE`: pictures → class probabilities.
    """
    if part in (FILTER, JUDGE):
        reader = nn.Sequential(load_reader(folder, read_manifest(folder), part), nn.Softmax(dim=1))
        return device.prepare_numbers(reader, READ_AT_ONCE), bytes_of(reader)
    checkpoint = load_checkpoint(folder)
    smaller = {at_side(r): r for r in checkpoint.latent.resolutions[:-1]} if checkpoint.from_latents else {}
    if part in smaller:
        generator = checkpoint.generator_at(smaller[part])
        size = bytes_of(generator)  # before it is used up
        return device.prepare(generator, example_rows(checkpoint)), size
    network: nn.Module = Descent(checkpoint.generator, checkpoint.extras.get(DISCRIMINATOR))
    if part != SEARCH:
        if part not in checkpoint.extras:
            raise CheckpointError(folder, f"it has no {part}", "Publish it again")
        network = checkpoint.extras[part]
        if part == CLASSIFIER:
            network = nn.Sequential(network, nn.Softmax(dim=1))
    return device.prepare_numbers(network), bytes_of(network)


def bytes_of(network: nn.Module) -> int:
    """Of a network's weights."""
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def _check_drawing(folder: Path, checkpoint: Checkpoint, network: Network, rows: Rows) -> None:
    output = checkpoint.manifest.output
    promised = (1, output.height, output.width, output.channels)
    drawn = draw(network, tuple(r[:1] for r in rows)).shape
    if drawn != promised:
        reason = f"it draws {drawn} and its manifest promises {promised}"
        raise CheckpointError(folder, reason, "Publish this version again")


def _blend_of(checkpoint: Checkpoint, device: Device) -> Blend:
    """The networks between the sharp generator (0) and the faithful one (1), made when they are asked for.

    Network interpolation, Wang et al. 2018, https://arxiv.org/abs/1809.00219: between the two sets of weights.
    """
    blank = copy.deepcopy(checkpoint.generator)
    sharp, faithful = (
        {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for network in (checkpoint.generator, checkpoint.extras[FAITHFUL])
    )
    made: OrderedDict[int, Network] = OrderedDict()
    lock = threading.Lock()

    def blend(fidelity: float) -> Network:
        step = round(fidelity * BLEND_STEPS)
        with lock:
            if step not in made:
                network = _between(blank, sharp, faithful, step / BLEND_STEPS)
                made[step] = device.prepare_for_any_shape(network)
            made.move_to_end(step)
            while len(made) > BLENDS_KEPT:
                made.popitem(last=False)
            return made[step]

    return blend


def _between(blank: nn.Module, sharp: dict[str, Tensor], faithful: dict[str, Tensor], t: float) -> nn.Module:
    network = copy.deepcopy(blank)
    network.load_state_dict({name: torch.lerp(sharp[name], faithful[name], t) for name in sharp})
    return network.eval().requires_grad_(False)
