import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.classifier import (
    FEATURES,
    JUDGE,
    Classifier,
    Recipe,
    augment,
    batches,
    predict,
    recalls,
    train_classifier,
)
from training.data import LabelledImages
from training.metrics import cache as cache_module
from training.metrics.cache import Trained, trained_classifier
from training.metrics.rotations import rotated


@pytest.mark.parametrize("recipe", [FEATURES, JUDGE], ids=["features", "judge"])
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3), (96, 3), (128, 1)])
def test_every_size_has_features_and_logits(recipe: Recipe, side: int, channels: int) -> None:
    network = Classifier(recipe.design, side=side, channels=channels, classes=7)
    found = predict(network, torch.zeros(2, channels, side, side, dtype=torch.uint8))
    assert found.features.shape == (2, recipe.design.features)
    assert found.logits.shape == (2, 7)


def test_the_judge_is_another_network() -> None:
    shapes = [
        {tuple(p.shape) for p in Classifier(r.design, side=28, channels=1, classes=10).parameters()} for r in (FEATURES, JUDGE)
    ]
    assert FEATURES.design.kind != JUDGE.design.kind
    assert shapes[0] != shapes[1]


def test_learns_and_repeats_itself(train: LabelledImages, test: LabelledImages, tiny: Recipe) -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first, second = (train_classifier(train.images, train.labels, 4, recipe=tiny, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not first.training
    assert (predict(first, test.images).labels == test.labels).double().mean() > 0.9
    assert torch.equal(predict(first, test.images).logits, predict(second, test.images).logits)
    other = train_classifier(train.images, train.labels, 4, recipe=replace(tiny, images=64), seed=2)
    assert not torch.equal(other.head.weight, first.head.weight)


def test_batches_are_whole_passes() -> None:
    seen = torch.cat(list(batches(10, 4, 5)))
    assert torch.bincount(seen).tolist() == [2] * 10
    assert len(next(iter(batches(3, 8, 1)))) == 8  # fewer pictures than a batch


def test_augmentation_shifts_and_mirrors_only_where_asked() -> None:
    x = torch.arange(2.0 * 6 * 6).reshape(2, 1, 6, 6)
    assert torch.equal(augment(x, shift_px=0, mirror=False), x)
    torch.manual_seed(0)
    mirrored = [augment(x, shift_px=0, mirror=True) for _ in range(20)]
    assert all(torch.equal(m[0], x[0]) or torch.equal(m[0], x[0].flip(2)) for m in mirrored)
    assert any(torch.equal(m[0], x[0].flip(2)) and torch.equal(m[1], x[1]) for m in mirrored)
    shifted = {augment(x, shift_px=1, mirror=False)[0, 0, 2, 2].item() for _ in range(100)}
    assert shifted == {x[0, 0, 2 + a, 2 + b].item() for a, b in itertools.product((-1, 0, 1), repeat=2)}


def test_recalls_by_hand() -> None:
    found = recalls(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]), 3)
    assert found[:2] == (0.5, 1.0)
    assert math.isnan(found[2])


def get(train: LabelledImages, test: LabelledImages, recipe: Recipe, folder: Path, seed: int = 0) -> Trained:
    return trained_classifier(train, test, recipe=replace(recipe, images=320), seed=seed, mirror=False, cache=folder)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    trainings: list[int] = []

    def counting(*args: object, seed: int, **options: object) -> Classifier:
        trainings.append(seed)
        return train_classifier(*args, seed=seed, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_module, "train_classifier", counting)
    return trainings


def test_cache_is_reused_for_the_same_and_for_nothing_else(
    train: LabelledImages, test: LabelledImages, tiny: Recipe, tmp_path: Path, counted: list[int]
) -> None:
    first, again = get(train, test, tiny, tmp_path), get(train, test, tiny, tmp_path)
    assert counted == [0]
    assert torch.equal(predict(first.network, test.images).logits, predict(again.network, test.images).logits)
    assert (first.test_accuracy, first.test_recall, first.weights_sha256) == (
        again.test_accuracy, again.test_recall, again.weights_sha256,
    )  # fmt: skip
    get(train, test, tiny, tmp_path, seed=1)
    get(replace(train, labels=train.labels.flip(0)), test, tiny, tmp_path)
    get(train, test, replace(tiny, learning_rate=0.02), tmp_path)
    trained_classifier(train, test, recipe=replace(tiny, images=320), seed=0, mirror=True, cache=tmp_path)
    assert len(counted) == 5


@pytest.mark.parametrize("damage", ["weights changed", "weights gone", "record changed", "record garbage", "record empty"])
def test_a_damaged_cache_is_noticed_and_trained_again(
    train: LabelledImages,
    test: LabelledImages,
    tiny: Recipe,
    tmp_path: Path,
    counted: list[int],
    *,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = get(train, test, tiny, tmp_path)
    weights, record = next(tmp_path.glob("*.safetensors")), next(tmp_path.glob("*.json"))
    if damage == "weights changed":
        raw = bytearray(weights.read_bytes())
        raw[-3] ^= 1
        weights.write_bytes(raw)
    elif damage == "weights gone":
        weights.unlink()
    elif damage == "record changed":  # somebody improves the accuracy
        record.write_text(record.read_text().replace(f'"test_accuracy": {before.test_accuracy}', '"test_accuracy": 0.999'))
    else:
        record.write_bytes(b"\x00{" if damage == "record garbage" else b"[]")
    after = get(train, test, tiny, tmp_path)
    assert counted == [0, 0]
    assert "training it again" in caplog.text
    assert after.weights_sha256 == before.weights_sha256
    get(train, test, tiny, tmp_path)
    assert counted == [0, 0]  # it was put right
    assert not list(tmp_path.glob(".*"))


def test_rotations_are_labelled_by_their_turn() -> None:
    images = torch.randint(0, 256, (8, 3, 5, 5), dtype=torch.uint8)
    turned = rotated(LabelledImages(images, torch.zeros(8, dtype=torch.int64), ()))
    assert turned.labels.tolist() == [0, 1, 2, 3] * 2
    assert torch.equal(turned.images[0], images[0])
    assert torch.equal(turned.images[5], images[5].rot90(1, dims=(1, 2)))
    assert torch.equal(turned.images[6], images[6].flip((1, 2)))
