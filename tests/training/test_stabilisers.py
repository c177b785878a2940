"""Each stabiliser against numbers worked by hand, and in the discriminators of the families that it is for."""

import math

import pytest
import torch
from torch import nn

from models.families import family_named
from training.config import ConfigError, StabiliserConfig
from training.stabilisers import give_reference, is_plain, stabilised
from training.stabilisers.batch_statistics import closeness, deviation
from training.stabilisers.features import feature_distance, features_seen
from training.stabilisers.history import History
from training.stabilisers.packing import pack
from training.stabilisers.unrolling import unrolled
from training.stabilisers.virtual_norm import VirtuallyNormed, VirtualNorm

FAMILIES = {
    "mlp": {"resolution": 8, "hidden": (8,), "d_hidden": (8, 6)},
    "dcgan": {"resolution": 8, "channels": 1, "width": 8},
    "conditional": {"resolution": 8, "classes": 2, "widths": (16, 8), "feature_dim": 8},
}


def judge(name: str, config: StabiliserConfig) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A family's discriminator with stabilisers, and inputs for a batch of 6."""
    torch.manual_seed(0)
    family = family_named(name)
    hp = family.hparams(**FAMILIES[name])
    inputs = (torch.randn(6, 1, 8, 8), torch.eye(2)[[0, 1, 0, 1, 0, 1]])[: 2 if hp.classes else 1]
    made = stabilised(
        lambda times: family.discriminator(hp.model_copy(update={"channels": times})),
        config,
        tuple(torch.zeros_like(t[:1]) for t in inputs),
    )
    return made, inputs


def test_closeness_is_that_worked_by_hand() -> None:
    rows = torch.tensor([[[0.0, 0.0]], [[1.0, 2.0]], [[0.0, 0.0]]])  # three pictures, one kernel of two numbers
    e3 = math.exp(-3)
    assert closeness(rows).flatten().tolist() == pytest.approx([(e3 + 1) / 2, 2 * e3 / 2, (e3 + 1) / 2])


def test_deviation_is_that_worked_by_hand() -> None:
    features = torch.tensor([[0.0, 5.0], [4.0, 5.0]])  # deviations 2 and 0
    assert deviation(features).flatten().tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


@pytest.mark.parametrize("statistics", [closeness, deviation])
def test_batch_statistics_of_networks_side_by_side_are_their_own(statistics) -> None:
    first, second = torch.randn(2, 5, 4, 3).unbind()
    both = statistics(torch.stack([first, second]))
    assert torch.allclose(both[0], statistics(first)) and torch.allclose(both[1], statistics(second))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["discrimination", "deviation"])
def test_a_batch_aware_discriminator_sees_its_batch(name: str, kind: str) -> None:
    network, (x, *y) = judge(name, StabiliserConfig(minibatch=kind))
    alone, beside_twins = network(x, *y)[0], network(x[:1].expand(6, -1, -1, -1), *y)[0]
    assert network(x, *y).shape == (6,)
    assert not torch.isclose(alone, beside_twins)
    plain, _ = judge(name, StabiliserConfig())
    assert torch.isclose(plain(x, *y)[0], plain(x[:1].expand(6, -1, -1, -1), *y)[0])  # the family's own does not


def test_packs_are_neighbours_whose_channels_follow_each_other() -> None:
    x = torch.arange(8.0).reshape(4, 2, 1, 1)
    assert pack(x, 2).flatten(1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert pack(torch.arange(6.0).reshape(6, 1), 3).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_a_packing_discriminator_judges_packs(name: str) -> None:
    network, (x,) = judge(name, StabiliserConfig(pack=3))
    before = network(x)
    x[1] += 1  # of the first pack
    assert before.shape == (2,)
    assert (network(x) == before).tolist() == [False, True]


def test_virtual_norm_is_that_worked_by_hand() -> None:
    norm = VirtualNorm(rows=2, width=1)
    out = norm(torch.tensor([[1.0], [3.0], [5.0]])).flatten()  # reference 1 and 3: mean 2, mean square 5
    mean, square = (2 * 2 + 5) / 3, (2 * 5 + 25) / 3
    assert out.tolist() == pytest.approx([-1.0, 1.0, (5 - mean) / math.sqrt(square - mean**2)], abs=1e-4)


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_virtual_norm_goes_by_the_reference_and_not_by_the_batch(name: str) -> None:
    network, (x,) = judge(name, StabiliserConfig(virtual_batch=4))
    give_reference(network, torch.randn(4, 1, 8, 8))
    whole = network(x)
    assert torch.allclose(network(x[2:3]), whole[2:3], atol=1e-5)
    give_reference(network, 3 * torch.randn(4, 1, 8, 8))
    assert not torch.allclose(network(x), whole, atol=1e-3)
    assert "reference" in network.state_dict()  # it is resumed with


def test_virtual_norm_fits_packs() -> None:
    network, (x,) = judge("mlp", StabiliserConfig(virtual_batch=4, pack=2))
    give_reference(network, torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 8, 8))
    (inner,) = (m for m in network.modules() if isinstance(m, VirtuallyNormed))
    assert inner.reference[:, :, 0, 0].tolist() == [[0, 1], [2, 3]]
    assert network(x).shape == (3,)


@pytest.mark.parametrize("config", [StabiliserConfig(pack=2), StabiliserConfig(virtual_batch=4)])
def test_packs_and_reference_batches_are_refused_with_labels(config: StabiliserConfig) -> None:
    with pytest.raises(ConfigError, match="without labels"):
        judge("conditional", config)


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        (StabiliserConfig(), True),
        (StabiliserConfig(feature_matching=1, historical_averaging=1, unrolled_steps=2), True),
        (StabiliserConfig(minibatch="deviation"), False),
        (StabiliserConfig(pack=2), False),
        (StabiliserConfig(virtual_batch=2), False),
    ],
)
def test_only_an_unchanged_discriminator_is_called_plain(config: StabiliserConfig, plain: bool) -> None:
    assert is_plain(config) is plain
    changed = judge("mlp", config)[0].state_dict().keys() != judge("mlp", StabiliserConfig())[0].state_dict().keys()
    shapes = [t.shape for t in judge("mlp", config)[0].state_dict().values()]
    changed |= shapes != [t.shape for t in judge("mlp", StabiliserConfig())[0].state_dict().values()]
    assert changed is not plain


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_what_the_last_layer_reads(name: str) -> None:
    network, inputs = judge(name, StabiliserConfig(minibatch="deviation"))
    with features_seen(network) as seen:
        network(*inputs)
    network(*inputs)  # no longer watched
    assert len(seen) == 1 and seen[0].shape[0] == 6 and seen[0].requires_grad


def test_feature_distance_is_that_worked_by_hand() -> None:
    real, fake = torch.tensor([[9.0, 9.0], [0.0, 0.0], [2.0, 4.0]]), torch.tensor([[9.0, 9.0], [1.0, 0.0], [1.0, 0.0]])
    assert feature_distance(real, fake, skip=1).item() == pytest.approx((0**2 + 2**2) / 2)  # means (1, 2) and (1, 0)


def test_history_pulls_to_the_mean_of_the_past() -> None:
    network = nn.Linear(1, 2, bias=False)
    history = History(network)
    assert history.distance(network).item() == 0
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(network.weight, value)
        history.take(network)
    distance = history.distance(network)  # from 3
    assert distance.item() == pytest.approx(9.0)
    distance.backward()
    assert network.weight.grad.flatten().tolist() == pytest.approx([3.0, 3.0])  # 2·3 / 2 weights
    assert {"count", "mean_0"} == history.state_dict().keys()


def bilinear(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return (fake - real).mean()


def test_unrolling_is_that_worked_by_hand() -> None:
    d = nn.Linear(1, 1, bias=False)
    nn.init.constant_(d.weight, 0.5)
    real, fake = torch.tensor([[1.0]]), torch.tensor([[3.0]], requires_grad=True)
    # loss w·(3 - 1): each step of rate 0.1 takes 0.2 off w = 0.5
    _, logits = unrolled(d, lambda: (real,), lambda: (fake,), bilinear, steps=2, rate=0.1)
    assert logits.item() == pytest.approx((0.5 - 0.4) * 3)
    logits.sum().backward()
    # d/dx of (0.5 - 2·0.1·(x - 1))·x at 3: the second term is what the steps themselves pass back
    assert fake.grad.item() == pytest.approx(0.1 - 0.2 * 3)
    assert d.weight.item() == 0.5 and d.weight.grad is None


def test_unrolling_by_no_steps_is_the_discriminators_own_word() -> None:
    network, (x,) = judge("mlp", StabiliserConfig())
    real, fake = unrolled(network, lambda: (x,), lambda: (x,), bilinear, steps=0, rate=0.1)
    assert torch.equal(real, network(x)) and torch.equal(fake, network(x))
