"""The training loop. It knows no family: a recipe updates the networks, the loop feeds and counts, the journal writes down.

Every random number of a step comes from generators seeded with (seed, step, rank), the order of the data from (seed, epoch),
and the learning rate from images seen. So the networks and their optimizers are all that a run has to remember: killed at any
moment and started again, it ends with the same bits.
"""

from collections.abc import Callable

import torch

from models.families import family_named
from models.family import ImageHParams
from training.config import ConfigError, TrainConfig
from training.data import LabelledImages, load
from training.device import Hardware
from training.feed import Feed, seed_of
from training.journal import Journal, Progress, Sitting
from training.recipes import RECIPES
from training.run_dir import RunDir, borrow
from training.schedule import rate_factor


def train(config: TrainConfig, report: Callable[[Progress], None], *, amend: bool = False) -> RunDir:
    """Trains, or goes on training, until `total_images` have been seen. Returns the run's folder.

    `report` is called every few steps. `amend` lets a run go on with other values than it was begun with. Raises
    `ConfigError` for what can't be trained, `DataError` for data that can't be read, and `DivergedError`.
    """
    hardware = Hardware(config.device)
    if config.batch % hardware.processes:
        raise ConfigError(f"batch {config.batch} can't be shared evenly by {hardware.processes} processes")
    data = load(config.data, "train")
    hparams = hparams_for(config, data)
    torch.manual_seed(seed_of(config.seed, "networks"))  # the same start in every process
    recipe = RECIPES[config.family](config, family_named(config.family), hparams, hardware)

    run = RunDir(config.runs / config.name)
    if hardware.rank == 0:
        run.open(config, amend=amend)
    hardware.fabric.barrier()
    step, images_seen, seconds = run.restore(recipe)
    if step == 0:
        if config.start is not None:
            borrow(run, RunDir(config.start), recipe)
        recipe.begin(data)
    hardware.fabric.barrier()  # nobody saves while somebody still reads
    feed = Feed(
        data,
        config.batch,
        config.seed,
        mirror=config.data.mirror,
        device=hardware.device,
        rank=hardware.rank,
        processes=hardware.processes,
    )
    journal = None
    if hardware.rank == 0:
        sitting = Sitting(hardware.describe(), step, images_seen, seconds)
        journal = Journal(run, config, recipe, hparams, report, sitting)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in recipe.optimizers.items()}
    plan = config.optimizer

    while images_seen < config.total_images:
        torch.manual_seed(seed_of(config.seed, "step", step, hardware.rank))
        factor = rate_factor(images_seen, config.total_images, plan.warmup_images, plan.decay_from, plan.final)
        for name, optimizer in recipe.optimizers.items():
            optimizer.param_groups[0]["lr"] = rates[name] * factor

        real, labels = feed(step)
        images_seen += config.batch
        stats = recipe.step(real, labels, step, images_seen)
        step += 1
        if journal is not None:
            journal.after_step(step, images_seen, factor, stats)

    hardware.fabric.barrier()
    return run


def hparams_for(config: TrainConfig, data: LabelledImages) -> ImageHParams:
    """The family's hyper-parameters, completed with what the data decide. Raises `ConfigError`."""
    family = family_named(config.family)
    _, channels, height, width = data.images.shape
    if height != width:
        raise ConfigError(f"the pictures are {width}x{height} px; set data.resolution to have them cropped to a square")
    known = {"resolution": height, "channels": channels}
    if family.conditional:
        if not data.label_names:
            raise ConfigError(f"family '{config.family}' needs labelled pictures, and {config.data.name} has no labels")
        known["classes"] = data.classes
    try:
        return family.hparams.model_validate({**known, **config.hparams})
    except ValueError as error:
        raise ConfigError(f"hparams: {error}") from error
