"""The small parts of the loop: schedule, feed, averaged generator, augmentation, pictures."""

import io
import itertools
import math

import pytest
import torch
from PIL import Image
from torch import nn

from models.families import FAMILIES
from training.augment import AUGMENTATIONS, augment
from training.data import LabelledImages
from training.ema import Ema
from training.feed import Feed
from training.pictures import draw_curves, draw_sheet, tile
from training.schedule import rate_factor


def numbered_data(items: int) -> LabelledImages:
    """Pictures whose pixels and label are their own number."""
    images = torch.arange(items, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
    return LabelledImages(images, torch.arange(items), tuple(map(str, range(items))))


def feed(items: int, batch: int, **kwargs: int) -> Feed:
    return Feed(numbered_data(items), batch, seed=3, mirror=False, device=torch.device("cpu"), **kwargs)


def test_rate_rises_stays_and_falls() -> None:
    factors = [rate_factor(i, 1000, warmup_images=100, decay_from=0.5, final=0.1) for i in range(1001)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[100:501] == [1.0] * 401
    assert factors[750] == pytest.approx(0.55)
    assert factors[1000] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[500:]))


def test_every_epoch_shows_every_picture_once_in_another_order() -> None:
    feeding = feed(items=10, batch=4)
    seen = torch.cat([feeding.indices(step) for step in range(5)])  # two epochs
    first, second = seen[:10], seen[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()


def test_a_step_sees_the_same_pictures_whatever_came_before() -> None:
    straight = feed(items=10, batch=4)
    for step in range(7):
        straight.indices(step)
    assert torch.equal(feed(items=10, batch=4).indices(7), straight.indices(7))


def test_pictures_keep_their_labels() -> None:
    real, labels = feed(items=10, batch=10)(0)
    assert torch.equal(((real[:, 0, 0, 0] + 1) * 127.5).round().long(), labels)


def test_processes_share_a_batch_without_overlap() -> None:
    whole = feed(items=10, batch=4).indices(3)
    shares = [feed(items=10, batch=4, rank=rank, processes=2)(3)[1] for rank in range(2)]
    assert sorted(torch.cat(shares).tolist()) == sorted(whole.tolist())


def test_ema_halves_in_its_half_life_and_copies_buffers() -> None:
    network = nn.BatchNorm1d(1)
    ema = Ema(network, half_life_images=100, ramp=1e9)
    with torch.no_grad():
        network.weight.fill_(3.0)  # from 1
        network.running_mean.fill_(7.0)
    for _ in range(10):
        ema.update(network, batch=10, images_seen=1000)
    assert ema.network.weight.item() == pytest.approx(2.0)
    assert ema.network.running_mean.item() == 7.0
    assert ema.network.state_dict().keys() == network.state_dict().keys()
    assert not ema.network.training


def test_ema_forgets_the_random_start() -> None:
    network = nn.Linear(1, 1)
    ema = Ema(network, half_life_images=1e9, ramp=0.05)
    with torch.no_grad():
        network.weight.fill_(5.0)
    for seen in range(10, 10_000, 10):
        ema.update(network, batch=10, images_seen=seen)
    assert ema.network.weight.item() == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(6, 1, 28, 28), (6, 3, 17, 16)])
def test_augmentations_change_pictures_keep_shapes_and_pass_gradients(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(shape, requires_grad=True)
    changed = augment(x, [name])
    assert changed.shape == x.shape and not torch.equal(changed, x)
    assert len({picture.sum().item() for picture in changed - x}) > 1  # each picture has its own change
    changed.sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


def test_translation_moves_and_does_not_wrap() -> None:
    torch.manual_seed(0)
    x = torch.zeros(64, 1, 16, 16)
    x[:, :, 8, 8] = 1
    moved = augment(x, ["translation"])
    places = {tuple(map(int, (picture == 1).nonzero()[0])) for picture in moved[:, 0]}
    assert len(places) > 5
    edge = torch.zeros(64, 1, 16, 16)
    edge[:, :, 0, :] = 1
    assert (augment(edge, ["translation"])[:, 0, 8:] == 0).all()


def test_sheets_show_the_same_latents_every_time() -> None:
    family = FAMILIES["conditional"]
    hparams = family.hparams(classes=3, resolution=8, widths=(16, 8), z_dim=4)
    generator = family.generator(hparams).eval()
    first, second = (draw_sheet(generator, hparams, columns=5, rows=2) for _ in range(2))
    assert first == second
    assert Image.open(io.BytesIO(first)).size == (5 * 8, 3 * 8)  # a row for each class


def test_tiles_are_laid_row_by_row() -> None:
    pictures = torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 2, 2, 1)
    sheet = tile(pictures, columns=2)
    assert [sheet.getpixel(at) for at in [(0, 0), (2, 0), (0, 2)]] == [0, 1, 2]


def test_curves_are_a_picture_even_with_gaps() -> None:
    stats = [
        {"step": i, "images": i * 10, "seconds": i, "loss/d": math.sin(i), **({"penalty/r1": 1.0} if i % 4 == 0 else {})}
        for i in range(9)
    ]
    assert Image.open(io.BytesIO(draw_curves(stats, "a run"))).format == "PNG"
