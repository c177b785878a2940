"""The training loop. It knows no family: a recipe updates the networks, the loop feeds and counts, the journal writes down.

Every random number of a step comes from generators seeded with (seed, step, rank), the order of the data from (seed, epoch),
and the learning rate from images seen. So the networks and their optimizers are all that a run has to remember: killed at any
moment and started again, it ends with the same bits.
"""

import contextlib
from collections.abc import Callable

import torch

from models.families import family_named
from models.family import HParams, LatentHParams
from models.progress import Progress as StageProgress
from models.progress import silent
from training.config import ConfigError, TrainConfig
from training.data import TrainingData, load
from training.device import Hardware
from training.doctor.rollback import gentler
from training.feed import Feed, seed_of
from training.journal import Journal, Progress, Sitting, log_due
from training.recipe import Recipe
from training.recipes import RECIPES
from training.run_dir import RunDir
from training.schedule import rate_factor
from training.start import borrow


def train(
    config: TrainConfig, report: Callable[[Progress], None], *, stage: StageProgress = silent, amend: bool = False
) -> RunDir:
    """Trains, or goes on training, until `total_images` have been seen. Returns the run's folder.

    `report` is called every few steps, `stage` before the first one where there is something to prepare. `amend` lets a run
    go on with other values than it was begun with. Raises `ConfigError` for what can't be trained, `DataError` for data that
    can't be read, and `DivergedError`.
    """
    hardware = Hardware(config.device)
    if config.batch % hardware.processes:
        raise ConfigError(f"batch {config.batch} can't be shared evenly by {hardware.processes} processes")
    data = load(config.data, "train")
    hparams = hparams_for(config, data)
    run = RunDir(config.runs / config.name)

    def make_recipe() -> Recipe:
        torch.manual_seed(seed_of(config.seed, "networks"))  # the same start in every process
        return RECIPES[config.family](gentler(config, len(run.rollbacks())), family_named(config.family), hparams, hardware)

    recipe = make_recipe()  # what can't be made leaves no folder behind
    with run.alone() if hardware.rank == 0 else contextlib.nullcontext():
        if hardware.rank == 0:
            run.open(config, amend=amend)
        hardware.fabric.barrier()
        while not _sit(config, run, recipe, data, hardware, report, stage):
            recipe = make_recipe()  # a rollback is a restart from another state
    return run


def _sit(
    config: TrainConfig,
    run: RunDir,
    recipe: Recipe,
    data: TrainingData,
    hardware: Hardware,
    report: Callable[[Progress], None],
    stage: StageProgress,
) -> bool:
    """Trains on from the saved state. Whether it came to the end; if not, the saved state is now an earlier one."""
    new = not run.about()
    step, images_seen, seconds = run.restore(recipe)
    if new:
        if config.start is not None:
            borrow(run, config.start, recipe)
        recipe.begin(data, stage if hardware.rank == 0 else silent)
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
        sitting = Sitting(hardware.describe(), step, images_seen, seconds, run.cpu_seconds())
        journal = Journal(run, config, recipe, data, report, sitting)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in recipe.optimizers.items()}
    plan = config.optimizer

    while images_seen < config.total_images:
        torch.manual_seed(seed_of(config.seed, "step", step, hardware.rank))
        factor = rate_factor(images_seen, config.total_images, plan.warmup_images, plan.decay_from, plan.final)
        for name, optimizer in recipe.optimizers.items():
            optimizer.param_groups[0]["lr"] = rates[name] * factor

        images_seen += config.batch
        stats = recipe.step(feed(step), step, images_seen)
        step += 1
        if journal is not None:
            journal.after_step(step, images_seen, factor, stats)
        may_return = config.on_collapse == "rollback" and log_due(config, step, images_seen)
        if may_return and hardware.agree(journal is not None and journal.rolled_back):
            return False

    hardware.fabric.barrier()
    return True


def hparams_for(config: TrainConfig, data: TrainingData) -> HParams:
    """The family's hyper-parameters, completed with what the data decide. Raises `ConfigError` or `DataError`."""
    family = family_named(config.family)
    known = {k: v for k, v in data.decides().items() if k in family.hparams.model_fields}
    if family.conditional and "classes" not in known:
        raise ConfigError(f"family '{config.family}' needs labelled pictures, and {config.data.name} has no labels")
    if family.conditional and config.data.labelled_per_class is not None:
        raise ConfigError(
            f"family '{config.family}' needs a label for each picture, and data.labelled_per_class takes most of them away: "
            "see `python -m training label`"
        )
    if not family.conditional:
        known.pop("classes", None)
    try:
        hparams = family.hparams.model_validate({**known, **config.hparams})
    except ValueError as error:
        raise ConfigError(f"hparams: {error}") from error
    if config.growth.images and not (isinstance(hparams, LatentHParams) and len(hparams.resolutions) > 1):
        raise ConfigError(f"growth: the networks of family '{config.family}' have one size; those of progressive can grow")
    return hparams
