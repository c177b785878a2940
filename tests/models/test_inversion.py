"""Finding latents again, and filling holes without an edge."""

import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn
from zoo_factory import TINY

from models.families import family_named
from models.inversion import LEG, STEPS, Descent, blended, context_weights, distances, first_state
from models.latents import latents, one_hot


def network(family: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    made = family_named(family)
    hp = made.hparams.model_validate(TINY[family])
    generator, discriminator = made.generator(hp), made.discriminator(hp)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return generator.eval().requires_grad_(False), discriminator.eval().requires_grad_(False)


def search(descent: Descent, target: Tensor, weights: Tensor, z: Tensor, *y: Tensor) -> Tensor:
    state = first_state(z)
    for _ in range(STEPS // LEG):
        state = descent(target, weights, state, *y)
    return state[:, : z.shape[1]]


@pytest.mark.parametrize("family", ["dcgan", "mlp", "conditional"])
def test_a_generators_own_picture_is_found_again(family: str) -> None:
    generator, _ = network(family)
    z = latents(range(3), 8)
    y = (one_hot([0, 1, 2], 3),) if family == "conditional" else ()
    target = generator(z, *y)
    weights = torch.ones(3, 1, *target.shape[2:])
    start = torch.zeros_like(z)
    found = generator(search(Descent(generator, None), target, weights, start, *y), *y)
    before = (generator(start, *y) - target).square().mean()
    assert (found - target).square().mean() < 0.4 * before


def test_searches_in_one_batch_do_not_see_each_other_and_legs_add_up() -> None:
    generator, discriminator = network("dcgan")
    descent = Descent(generator, discriminator)
    target = generator(latents(range(10, 13), 8))
    weights = torch.ones(3, 1, 16, 16)
    together = search(descent, target, weights, latents(range(3), 8))
    for i in range(3):
        alone = search(descent, target[i : i + 1], weights[i : i + 1], latents([i], 8))
        torch.testing.assert_close(alone, together[i : i + 1], atol=1e-3, rtol=1e-3)


def test_a_search_does_not_look_into_the_hole() -> None:
    generator, _ = network("dcgan")
    target = generator(latents([3], 8))
    hole = torch.zeros(1, 1, 16, 16)
    hole[:, :, 4:12, 4:12] = 1
    spoilt = torch.where(hole > 0, torch.full_like(target, 0.7), target)
    weights = context_weights(hole)
    a, b = (search(Descent(generator, None), t, weights, torch.zeros(1, 8)) for t in (target, spoilt))
    assert torch.equal(a, b)


def test_a_discriminator_pulls_towards_what_it_takes_for_real() -> None:
    class Likes(nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, x: Tensor) -> Tensor:
            return 1e3 * self.sign * x[:, 0, 5, 7]

    generator, _ = network("dcgan")
    nothing_known = torch.zeros(1, 1, 16, 16)
    bright, dark = (
        generator(search(Descent(generator, Likes(sign)), torch.zeros(1, 3, 16, 16), nothing_known, latents([0], 8)))[
            0, 0, 5, 7
        ]
        for sign in (1.0, -1.0)
    )
    assert bright > 0 > dark


def test_weights_by_hand() -> None:
    hole = torch.zeros(1, 1, 9, 9)
    hole[0, 0, 4, 4] = 1
    weights = context_weights(hole)
    near, far = 0.1 + 1 / 49, 0.1
    mean = (48 * near + 32 * far) / 81
    assert weights[0, 0, 4, 4] == 0
    torch.testing.assert_close(weights[0, 0, 4, 3], torch.tensor(near / mean))
    torch.testing.assert_close(weights[0, 0, 0, 0], torch.tensor(far / mean))
    assert torch.equal(context_weights(torch.ones(1, 1, 4, 4)), torch.zeros(1, 1, 4, 4))
    torch.testing.assert_close(context_weights(torch.zeros(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_distances_by_hand() -> None:
    made, target = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    target[0, 0, :, 2:] = -1
    # 1 at full size and at a half; at a quarter the halves cancel out
    torch.testing.assert_close(distances(made, target, torch.ones(1, 1, 4, 4)), torch.tensor([2.0]))


def test_a_blend_solves_the_poisson_equation() -> None:
    """Against a direct solver: inside the hole the Laplacian is that of what was made, along its edge the known pixels hold."""
    generator = torch.Generator().manual_seed(2)
    made, target = (torch.rand(1, 1, 20, 17, generator=generator) for _ in range(2))
    hole = (torch.rand(1, 1, 20, 17, generator=generator) < 0.6).float()
    result = blended(made, target, hole)[0, 0].double()
    assert torch.equal(result[hole[0, 0] == 0], target[0, 0][hole[0, 0] == 0].double())

    inside = [tuple(p) for p in hole[0, 0].nonzero().tolist()]
    number = {p: i for i, p in enumerate(inside)}
    rows, columns, values = [], [], []
    right = torch.zeros(len(inside), dtype=torch.float64)
    for (y, x), i in number.items():
        for q in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= q[0] < 20 and 0 <= q[1] < 17):
                continue
            rows.append(i), columns.append(i), values.append(1.0)
            right[i] += float(made[0, 0, y, x] - made[0, 0, *q])
            if q in number:
                rows.append(i), columns.append(number[q]), values.append(-1.0)
            else:
                right[i] += float(target[0, 0, *q])
    solved = spsolve(coo_matrix((values, (rows, columns))).tocsr(), right.numpy())
    mine = torch.stack([result[p] for p in inside])
    torch.testing.assert_close(mine, torch.from_numpy(solved), atol=1e-4, rtol=0)


def test_a_fill_that_is_only_too_dark_is_put_right() -> None:
    target = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    hole = torch.zeros(2, 1, 32, 32)
    hole[:, :, 5:20, 8:30] = 1
    torch.testing.assert_close(blended(target - 0.4, target, hole), target, atol=1e-5, rtol=0)
    assert torch.equal(blended(target - 0.4, target, torch.ones(2, 1, 32, 32)), target - 0.4)  # nothing known: as it was made
