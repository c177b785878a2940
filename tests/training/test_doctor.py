"""The doctor: its signals against numbers worked out by hand, its detectors, its advice, and a few runs."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import write_config

from benchmarks.collapse_cases import CHOSEN_ON, Case
from benchmarks.collapse_doctor import examine
from training.config import load_config
from training.doctor.findings import REMIND, WINDOW, Doctor
from training.doctor.rollback import difference, gentler
from training.doctor.signals import Shown, gradient_norms, member_norms, signals
from training.lab.config import LabConfig

WELL = {"doctor/spread": 1.0, "doctor/variety": 1.0, "doctor/copies": 0.0, "doctor/distance": 0.01, "doctor/told_apart": 0.7}


def line_of(count: int, step: float = 1.0) -> torch.Tensor:
    """Points 0, 1, 2, … on a line."""
    return torch.arange(count)[:, None] * step


def test_the_same_points_are_as_various_and_no_distance_apart() -> None:
    x = line_of(16)
    seen = signals(Shown(x, x.clone(), torch.zeros(16), torch.zeros(16)))
    assert seen == pytest.approx(
        {"spread": 17 / 3, "variety": 1, "copies": 0, "distance": 0, "gap": 0, "told_apart": 0.5}, abs=1e-6
    )


def test_each_signal_is_what_a_hand_works_out() -> None:
    real, fake = line_of(8), torch.full((8, 1), 100.0)
    fake[:2] = torch.tensor([[0.0], [50.0]])  # two of eight have no twin
    seen = signals(Shown(real, fake, torch.full((8,), 2.0), torch.tensor([5.0, 2, 1, 1, 1, 1, 1, 1])))
    between = [abs(a - b) for i, a in enumerate(range(8)) for j, b in enumerate(fake[:, 0].tolist()) if i != j]
    of_fake = [abs(a - b) for i, a in enumerate(fake[:, 0].tolist()) for j, b in enumerate(fake[:, 0].tolist()) if i != j]
    mean_between, mean_fake = sum(between) / 56, sum(of_fake) / 56
    assert seen["spread"] == pytest.approx(3)
    assert seen["variety"] == pytest.approx(mean_fake / 3)
    assert seen["copies"] == pytest.approx(6 / 8)
    assert seen["distance"] == pytest.approx(1 - (3 + mean_fake) / (2 * mean_between))
    assert seen["gap"] == pytest.approx(2 - 13 / 8)
    assert seen["told_apart"] == pytest.approx((6 + 0.5) / 8)


def test_variety_is_that_inside_a_class() -> None:
    y = torch.eye(2).repeat_interleave(8, dim=0)
    real = line_of(16)
    fake = torch.cat([torch.zeros(8, 1), torch.full((8, 1), 50.0)])  # one picture a class, and these far apart
    assert signals(Shown(real, fake))["variety"] > 1
    assert signals(Shown(real, fake, y=y))["variety"] == 0


def test_a_batch_that_is_too_small_or_flat_gives_no_more_than_it_can() -> None:
    assert signals(Shown(line_of(4), line_of(4))) == {}
    picture = torch.rand(1, 3, 40, 40).expand(32, -1, -1, -1)
    assert signals(Shown(picture, torch.rand(32, 3, 40, 40))) == {"spread": 0.0}


def test_gradient_norms_of_an_optimizer_and_of_networks_side_by_side() -> None:
    layer = torch.nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[2.0, 3.0]]), torch.tensor([6.0])
    assert gradient_norms({"g": torch.optim.SGD(layer.parameters(), lr=1.0)}) == {"g": 7.0}
    side = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(2, 1, 2)), torch.nn.Parameter(torch.zeros(2, 1))])
    side[0].grad, side[1].grad = torch.tensor([[[2.0, 3.0]], [[0.0, 0.0]]]), torch.tensor([[6.0], [5.0]])
    assert member_norms(side, 2).tolist() == [7.0, 5.0]


def told(*lines: Mapping[str, float]) -> list[tuple[int, str]]:
    """What a doctor tells of these lines: after which of them, and the finding's name."""
    doctor = Doctor(LabConfig())
    found = [(i, doctor.examine(line)) for i, line in enumerate(lines, 1)]
    return [(i, finding.name) for i, finding in found if finding is not None]


@pytest.mark.parametrize(
    ("line", "looks", "finding"),
    [
        ({"loss/g": math.nan}, 1, "no number"),
        ({"gradients/generator": math.inf}, 1, "no number"),
        ({"doctor/spread": 1e-6}, 4, "one picture"),
        ({"doctor/variety": 0.05}, 8, "no variety"),
        ({"doctor/copies": 0.95}, 8, "no variety"),
        ({"doctor/gap": 2e3}, WINDOW, "running away"),
        ({"gradients/discriminator": 2e3}, WINDOW, "running away"),
        ({"doctor/distance": 0.3, "doctor/told_apart": 0.99}, WINDOW, "discriminator too strong"),
        ({"doctor/distance": 0.3, "doctor/told_apart": 0.1}, WINDOW, "discriminator too weak"),
        ({"doctor/distance": 0.3}, WINDOW, "far off"),
    ],
)
def test_each_detector_speaks_after_its_looks_and_again_if_it_goes_on(line: dict[str, float], looks: int, finding: str) -> None:
    ill = {**WELL, **line}
    assert told(*[ill] * (looks + REMIND)) == [(looks, finding), (looks + REMIND, finding)]
    assert told(*[WELL] * WINDOW, *[ill] * (looks // 2 - 1), *[WELL] * WINDOW) == []  # less than half of the looks is chance
    doctor = Doctor(LabConfig())
    doctor.examine(ill)
    assert not doctor.well
    doctor.examine(WELL)
    assert doctor.well


def test_healthy_lines_and_those_on_their_way_are_left_alone() -> None:
    assert told(*[WELL] * 100) == []
    falling = [{**WELL, "doctor/distance": 0.9 * 0.97**i, "doctor/told_apart": 1.0} for i in range(60)]
    assert told(*falling) == []


def test_the_doctor_of_a_restart_knows_what_was_told() -> None:
    lines = [{**WELL, "doctor/variety": 0.0}] * 20
    doctor = Doctor(LabConfig(), lines)
    assert [doctor.examine(lines[0]) for _ in range(20)] == [None] * 20


def test_the_advice_names_keys_of_the_config_and_values() -> None:
    config = LabConfig().but("loss.adversarial=minimax", "optimizer.d_steps=5")
    doctor = Doctor(config)
    found = [doctor.examine({**WELL, "doctor/distance": 0.3, "doctor/told_apart": 0.99}) for _ in range(WINDOW)][-1]
    assert found is not None
    for words in ("99%", "minimax", "loss.adversarial=non-saturating", "loss.r1=0.1", "optimizer.d_steps=1"):
        assert words in found.text


@pytest.mark.parametrize(
    ("switches", "advised"),
    [
        (("optimizer.learning_rate=0.3", "optimizer.d_learning_rate=1e-3"), "optimizer.learning_rate=0.001 (now 0.3)"),
        (("optimizer.d_learning_rate=1e-8",), "optimizer.d_learning_rate=0.001 (now 1e-08)"),
        (("loss.r1=1000",), "loss.r1=1e+02 (now 1000)"),
        (("optimizer.learning_rate=30.0",), "optimizer.learning_rate=0.001 (now 30)"),
    ],
)
def test_the_advice_leads_to_usual_values(switches: tuple[str, ...], advised: str) -> None:
    doctor = Doctor(LabConfig().but(*switches))
    found = [doctor.examine({**WELL, "doctor/variety": 0.0}) for _ in range(8)][-1]
    assert found is not None and advised in found.text


def test_gentler_is_half_the_rate_and_three_times_the_penalty(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "tiny.toml", tmp_path, tmp_path), ["optimizer.d_learning_rate=1e-3"])
    changed = difference(config, gentler(config, 2))
    assert changed == {
        "loss.r1": [0.1, pytest.approx(0.9)],
        "loss.r2": [0.1, pytest.approx(0.9)],
        "optimizer.learning_rate": [3e-4, 7.5e-5],
        "optimizer.d_learning_rate": [1e-3, 2.5e-4],
    }
    bare = load_config(tmp_path / "tiny.toml", ["loss.r1=0", "loss.r2=0"])
    assert [gentler(bare, n).loss.r1 for n in range(3)] == [0, 0.1, pytest.approx(0.3)]


QUICK = {
    "ring: generator 300 times faster": "no variety",
    "ring: minimax, strong discriminator": "discriminator too strong",
    "line: one point": "one picture",
    "ring: least squares at rate 100": "no number",
    "ring: non-saturating, R1": None,
}


@pytest.mark.parametrize("case", [case for case in CHOSEN_ON if case.name in QUICK], ids=lambda case: case.name)
def test_runs_that_are_broken_are_found_and_a_healthy_one_is_not(case: Case) -> None:
    """The whole study is `python -m benchmarks.collapse_doctor`."""
    short = replace(case, switches=(*case.switches, "steps=600", "traces=20"))
    assert examine(short).finding == QUICK[case.name]
