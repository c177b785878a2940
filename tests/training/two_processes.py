"""Run by `torchrun` with two processes: averaged gradients are those of the whole batch, and the weights stay equal."""

import sys
from pathlib import Path

import torch
from torch import nn

from training.config import DeviceConfig, load_config
from training.device import Hardware
from training.loop import train
from training.recipes import RECIPES
from training.run_dir import weights_of


def gradients_are_those_of_the_whole_batch() -> None:
    hardware = Hardware(DeviceConfig(accelerator="cpu", precision="float32"))
    assert hardware.processes == 2
    torch.manual_seed(0)
    network, x = nn.Linear(5, 3), torch.randn(8, 5)
    network(x).square().mean().backward()
    whole = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    network(x[hardware.rank :: 2]).square().mean().backward()
    halves = [p.grad.clone() for p in network.parameters()]
    hardware.average_gradients(network)
    assert not torch.allclose(halves[0], whole[0])
    for p, expected in zip(network.parameters(), whole, strict=True):
        torch.testing.assert_close(p.grad, expected)


def weights_stay_equal(config: Path) -> None:
    kept = []
    make = RECIPES["conditional"]
    RECIPES["conditional"] = lambda *args: kept.append(make(*args)) or kept[0]
    run = train(load_config(config, ["total_images=320"]), lambda progress: None)
    (recipe,) = kept
    mine = {k: v for name, network in recipe.networks.items() for k, v in network.state_dict(prefix=f"{name}/").items()}
    saved = {f"{name}/{k}": v for name in recipe.networks for k, v in weights_of(run, name).items()}
    assert [k for k in saved if not torch.equal(mine[k], saved[k])] == []  # saved by rank 0, compared in both


if __name__ == "__main__":
    gradients_are_those_of_the_whole_batch()
    weights_stay_equal(Path(sys.argv[1]))
