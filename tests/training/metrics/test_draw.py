from pathlib import Path

import pytest
import torch
from zoo_factory import make_entry

from models.checkpoint import Checkpoint, load_checkpoint
from models.latents import latents, one_hot
from models.pixels import to_uint8
from training.metrics.draw import asked_labels, draw, one_thread


@pytest.fixture
def clothes(tmp_path: Path) -> Checkpoint:
    return load_checkpoint(make_entry(tmp_path, "clothes", "conditional"))


@pytest.fixture
def blobs(tmp_path: Path) -> Checkpoint:
    return load_checkpoint(make_entry(tmp_path, "blobs", "dcgan"))


def test_pictures_are_those_of_their_seeds(clothes: Checkpoint) -> None:
    pictures = torch.cat(list(draw(clothes, [5, 2**62, 9], [2, 0, 1], micro_batch=2)))
    assert pictures.shape == (3, 1, 16, 16)
    assert pictures.dtype == torch.uint8
    with torch.inference_mode():
        alone = to_uint8(clothes.generator(latents([2**62], 8), one_hot([0], 3))).permute(0, 3, 1, 2)
    assert (pictures[1:2].int() - alone.int()).abs().max() <= 1


def test_micro_batches_do_not_change_pictures(blobs: Checkpoint) -> None:
    one, many = (torch.cat(list(draw(blobs, range(10), micro_batch=n))) for n in (3, 100))
    assert one.shape == (10, 3, 16, 16)
    assert (one.int() - many.int()).abs().max() <= 1


def test_labels_must_fit_the_model(clothes: Checkpoint, blobs: Checkpoint) -> None:
    with pytest.raises(ValueError, match="labels were given for a model with 0 classes"):
        next(draw(blobs, [0], [0]))
    with pytest.raises(ValueError, match="not given"):
        next(draw(clothes, [0]))
    with pytest.raises(ValueError, match="1 labels for 2 seeds"):
        next(draw(clothes, [0, 1], [0]))


def test_asked_labels_have_the_real_proportions() -> None:
    real = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    assert torch.equal(asked_labels(real, 1000).bincount(), real.bincount())
    assert asked_labels(real, 2500).bincount()[0] == pytest.approx(1500, abs=50)
    assert asked_labels(real, 200).bincount()[0] == pytest.approx(120, abs=25)  # shuffled: no class at a time
    assert torch.equal(asked_labels(real, 77), asked_labels(real, 200)[:77])


def test_pictures_are_drawn_by_one_thread_and_the_others_come_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
