"""Many seeds as one network, and that it learns."""

import numpy as np
import pytest
import torch

from training.lab.config import LabConfig, parse
from training.lab.experiment import Experiment, run
from training.lab.networks import Members, Waves, normalise_members, perceptron

TINY = ["target.kind=ring", "hidden=8", "layers=2", "batch=8", "steps=6", "traces=2", "samples=100", "z_dim=2"]
TECHNIQUES = {
    "plain": [],
    "codes": ["codes=4", "waves=3"],
    "clipped": ["loss={adversarial='wasserstein', clip=0.1, r1=0, r2=0}", "optimizer.d_steps=3"],
    "slope penalty": ["loss={adversarial='wasserstein', gradient_penalty=1, r1=0, r2=0}"],
    "penalties": ["loss={adversarial='relativistic', r1=0.1, r2=0.1, penalty_every=2}"],
    "spectral norm": ["loss.spectral_norm=true"],
    "smoothing": ["loss.label_smoothing=0.1"],
    "discrimination": ["stabilisers.minibatch=discrimination"],
    "deviation": ["stabilisers.minibatch=deviation"],
    "virtual": ["stabilisers.virtual_batch=8"],
    "matching": ["stabilisers.feature_matching=1", "loss.adversarial_weight=0"],
    "virtual matching": ["stabilisers.feature_matching=1", "stabilisers.virtual_batch=8"],
    "history": ["stabilisers.historical_averaging=1"],
    "unrolled": ["stabilisers.unrolled_steps=2"],
    "unrolled spectral": ["stabilisers.unrolled_steps=2", "loss.spectral_norm=true"],
    "pack": ["stabilisers.pack=4", "stabilisers.minibatch=deviation"],
    "average": ["ema.half_life_images=20"],
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_seed_goes_the_same_way_alone_and_beside_others(name: str) -> None:
    # descent without adaptive rates, whose steps show a gradient that is too small or too large
    config = parse([*TINY, "optimizer={algorithm='sgd', learning_rate=0.02, final=1.0}", *TECHNIQUES[name]])
    together, alone = run(config, [5, 6, 7]), run(config, [6])
    assert np.allclose(together.samples[1], alone.samples[0], atol=1e-4)
    assert not np.allclose(together.samples[0], together.samples[1], atol=1e-2)
    untrained = run(config.model_copy(update={"steps": 1}), [6])
    assert not np.allclose(alone.samples, untrained.samples, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["adam", "sgd", "rmsprop"])
def test_an_experiment_is_a_function_of_config_and_seed(algorithm: str) -> None:
    config = parse([*TINY, f"optimizer.algorithm={algorithm}"])
    assert np.array_equal(run(config, [3]).samples, run(config, [3]).samples)


def test_looking_does_not_change_what_is_looked_at() -> None:
    often, seldom = (run(parse([*TINY, f"traces={n}"]), [3]) for n in (6, 1))
    assert np.array_equal(often.samples, seldom.samples)


def test_it_learns_a_normal_distribution() -> None:
    shape = ["target.kind=mixture", "hidden=16", "layers=2", "steps=600", "batch=64", "z_dim=1", "traces=4", "loss.r1=0.1"]
    config = parse([*shape, "optimizer={learning_rate=5e-3, betas=[0.5, 0.99], final=0.05}"])
    outcome = run(config, [0, 1])
    assert outcome.trace["w1"][0].min() > 2  # it begins around 0, and the mean is 4
    assert outcome.final["w1"].max() < outcome.trace["w1"][0].min() / 2


def test_members_start_as_their_own_generators_say() -> None:
    one, two = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    both = Members(3, 4, [one, two])
    alone = Members(3, 4, [torch.Generator().manual_seed(2)])
    assert torch.equal(both.weight[1], alone.weight[0])
    x = torch.randn(2, 5, 3)
    assert torch.allclose(both(x)[1], x[1] @ both.weight[1])


def test_spectral_norm_bounds_each_member() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    network = perceptron((4, 6, 1), "relu", generators)
    with torch.no_grad():
        network.layers[0].weight.mul_(torch.tensor([1.0, 10.0, 100.0])[:, None, None])
    normalise_members(network)
    for _ in range(30):
        network(torch.randn(3, 4))
    largest = torch.linalg.matrix_norm(network.layers[0].weight, 2)
    assert largest.tolist() == pytest.approx([1, 1, 1], rel=1e-2)


def test_waves_halve_in_length_and_height() -> None:
    waves, x = Waves(2, reach=1.0), torch.tensor([[0.25]])
    slow = [np.sin(np.pi / 4), np.cos(np.pi / 4)]
    assert waves(x).flatten().tolist() == pytest.approx([0.25, *slow, 0.5, 0.0], abs=1e-6)
    waves.open(0.75)  # all of the first and half of the second
    assert waves(x).flatten().tolist() == pytest.approx([0.25, *slow, 0.25, 0.0], abs=1e-6)


def test_the_discriminator_judges_as_many_packs_as_there_are() -> None:
    experiment = Experiment(LabConfig(batch=8).but("stabilisers.pack=2"), [0, 1])
    assert experiment.logits(torch.zeros(2, 6, 2)).shape == (2, 3)
