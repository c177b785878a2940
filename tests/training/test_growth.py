"""Growth as a run does it: a function of the pictures seen, smooth where a level begins, and exact after a stop."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny import write_idx
from torch import Tensor

from models.blocks import doubled, halved
from models.families.progressive import Discriminator, ProgressiveHParams, Stage
from training.config import ConfigError, GrowthConfig, TrainConfig, parse_config
from training.journal import Progress
from training.loop import train
from training.losses import gradient_penalty
from training.recipes.progressive import penalty_share, shown_at
from training.run_dir import RunDir
from training.schedule import stage_at

RESOLUTIONS = (8, 16, 32)


@pytest.mark.parametrize(
    ("images", "stage"),
    [(0, (8, 1.0)), (99, (8, 1.0)), (100, (16, 0.0)), (125, (16, 0.5)), (150, (16, 1.0)), (299, (16, 1.0)), (310, (32, 0.2)),
     (350, (32, 1.0)), (10**6, (32, 1.0))],
)  # fmt: skip
def test_growth_is_a_function_of_pictures_seen(images: int, stage: tuple[int, float]) -> None:
    assert stage_at(images, GrowthConfig(images=(100, 200), fade=50), RESOLUTIONS) == stage


def test_without_growth_or_without_fading_levels_are_there_at_once() -> None:
    assert stage_at(0, GrowthConfig(), RESOLUTIONS) == Stage(32)
    assert stage_at(100, GrowthConfig(images=(100, 200), fade=0), RESOLUTIONS) == Stage(16)


def test_real_pictures_are_made_small_by_the_mean_and_faded_in() -> None:
    real = torch.arange(16.0).reshape(1, 1, 4, 4)
    small = torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]])
    assert torch.equal(shown_at(real, Stage(4)), real)
    assert torch.equal(shown_at(real, Stage(2)), small)
    assert torch.equal(shown_at(real, Stage(4, 0.0)), doubled(small))
    assert torch.equal(shown_at(real, Stage(4, 0.5)), (real + doubled(small)) / 2)


def test_gradient_penalties_do_not_jump_where_a_level_begins() -> None:
    torch.manual_seed(0)
    hp = ProgressiveHParams(resolution=32, widths=(16, 8, 8))
    discriminator = Discriminator(hp)
    x = torch.rand(4, 3, 16, 16) * 2 - 1

    def penalty(pictures: Tensor, stage: Stage) -> Tensor:
        pictures = pictures.requires_grad_()
        return penalty_share(stage, hp) * gradient_penalty(discriminator(pictures, stage), pictures)

    torch.testing.assert_close(penalty(x, Stage(16, 0.0)), penalty(halved(x.detach()), Stage(8)))


def config(folder: Path, runs: str, **changes: object) -> TrainConfig:
    raw = {
        "name": "tiny", "family": "progressive", "total_images": 96, "batch": 8, "runs": str(folder / runs),
        "augment": ["color", "translation"], "hparams": {"z_dim": 4, "smallest": 4, "widths": [8, 8]},
        "data": {"name": "squares", "format": "idx", "path": str(folder / "squares"), "labels": ["a", "b", "c"],
                 "source": "drawn by this test", "licence": "CC0-1.0"},
        "growth": {"images": [32], "fade": 32}, "loss": {"penalty_every": 2},
        "snapshots": {"every_images": 96, "log_every_steps": 1, "save_every_s": 0, "sheet_columns": 2, "sheet_rows": 1},
        "device": {"accelerator": "cpu", "precision": "float32", "threads": 1},
    }  # fmt: skip
    return parse_config({**raw, **changes}, "test")


class StoppedError(Exception):
    pass


def test_a_run_that_was_stopped_on_both_sides_of_a_level_ends_with_the_same_bits(tmp_path: Path) -> None:
    write_idx(tmp_path / "squares", items=40)
    straight = train(config(tmp_path, "straight"), lambda _: None)

    def stop(progress: Progress) -> None:
        if progress.images_seen in (24, 48):  # before the level and while it fades in
            raise StoppedError

    for _ in range(2):
        with pytest.raises(StoppedError):
            train(config(tmp_path, "stopped"), stop)
    stopped = train(config(tmp_path, "stopped"), stop)

    expected, got = (safetensors.torch.load_file(run.state_file) for run in (straight, stopped))
    assert expected.keys() == got.keys()
    assert [k for k in expected if not torch.equal(expected[k], got[k])] == []
    assert {p.name: p.read_bytes() for p in straight.samples.iterdir()} == {
        p.name: p.read_bytes() for p in stopped.samples.iterdir()
    }
    stages = {(line["growth/resolution"], round(line["growth/alpha"], 3)) for line in stopped.stats()}
    assert {(4, 1), (8, 0), (8, 0.5), (8, 1)} <= stages
    assert stopped.cpu_seconds() > 0 and stopped.stats()[-1]["cpu_seconds"] > stopped.stats()[0]["cpu_seconds"]


def grown_wrongly(folder: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(config(folder, "wrong", **changes), lambda _: None)
    assert not RunDir(folder / "wrong" / "tiny").about()


def test_growth_that_can_not_be_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "squares", items=10)
    grown_wrongly(tmp_path, {"growth": {"images": [8, 48], "fade": 48}}, "each of 4 px")
    grown_wrongly(tmp_path, {"growth": {"images": [80], "fade": 48}}, "full-grown after 128 pictures")
    grown_wrongly(tmp_path, {"family": "dcgan", "hparams": {}}, "family 'dcgan' have one size")
    grown_wrongly(tmp_path, {"stabilisers": {"virtual_batch": 8}}, "several")
    with pytest.raises(ConfigError, match="fades in over 48 images"):
        config(tmp_path, "wrong", growth={"images": [8, 40], "fade": 48})
