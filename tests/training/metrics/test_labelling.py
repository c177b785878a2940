"""A few labels become many: only the known ones are looked at, and what is guessed is what classifiers agree on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from bar_pictures import TINY, bars

from models.progress import silent
from training.data import DataError, LabelledImages, draw_labels
from training.labelling import label_the_rest, repeated, surest


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    return bars(400, seed=0)


def test_so_many_of_each_class_are_known(data: LabelledImages) -> None:
    known = draw_labels(data.labels, 7, seed=0)
    assert torch.bincount(data.labels[known]).tolist() == [7] * data.classes
    assert torch.equal(known, draw_labels(data.labels, 7, seed=0))
    assert not torch.equal(known, draw_labels(data.labels, 7, seed=1))
    assert draw_labels(data.labels, 20, seed=0)[known].all()  # more labels are these and others
    with pytest.raises(DataError, match="are to keep their labels"):
        draw_labels(data.labels, 300, seed=0)


def test_only_known_labels_are_looked_at(data: LabelledImages) -> None:
    """Wrong labels elsewhere change nothing; and most pictures get their right one."""
    known = draw_labels(data.labels, 10, seed=0)
    made = label_the_rest(data, known, mirror=False, progress=silent, recipe=TINY, voters=1)
    nonsense = LabelledImages(data.images, torch.where(known, data.labels, 0), data.label_names)
    again = label_the_rest(nonsense, known, mirror=False, progress=silent, recipe=TINY, voters=1)
    assert torch.equal(made.labels, again.labels)
    assert torch.equal(made.labels[known], data.labels[known])
    assert (made.labels == data.labels)[~known].double().mean() > 0.8
    assert made.confidence[known].eq(1).all() and made.confidence.le(1).all()


def test_the_surest_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    confidence = torch.tensor([0.9, 0.5, 0.8, 1.0, 0.3, 0.2, 0.1])
    known = torch.tensor([False, False, False, True, False, False, False])
    assert surest(labels, confidence, known, 0.67).tolist() == [True, False, True, False, True, True, False]
    assert not surest(labels, confidence, known, 0.0).any()


def test_known_pictures_are_a_quarter_of_what_is_seen() -> None:
    images, labels = torch.zeros(100, 1, 2, 2), torch.arange(100)
    known = torch.arange(100) < 2
    _, seen = repeated(images, labels, known)
    assert (seen < 2).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert len(repeated(images, labels, torch.arange(100) < 40)[1]) == 100  # already more


def test_a_file_of_labels_replaces_those_of_the_data(data: LabelledImages, tmp_path: Path) -> None:
    wanted = np.arange(len(data)) % (data.classes + 1) - 1
    np.save(tmp_path / "labels.npy", wanted)
    found = data.relabelled(tmp_path / "labels.npy")
    assert found.labels.tolist() == wanted[wanted >= 0].tolist()
    assert torch.equal(found.images, data.images[torch.from_numpy(wanted >= 0)])
    for bad, says in ((wanted[:5], "shape"), (wanted + 1, "classes"), (wanted.astype(str), "can't be read")):
        np.save(tmp_path / "bad.npy", bad)
        with pytest.raises(DataError, match=says):
            data.relabelled(tmp_path / "bad.npy")
    with pytest.raises(DataError, match="can't be read"):
        data.relabelled(tmp_path / "none.npy")
