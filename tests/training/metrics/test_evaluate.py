from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bar_pictures import NAMES, bars
from PIL import Image
from torch import Tensor
from zoo_factory import make_entry

from models.checkpoint import Checkpoint, load_checkpoint
from models.manifest import Metric
from training.data import DataConfig, DataError, LabelledImages, NoTestSplitError
from training.evaluate import QUICK, evaluate, measure

ALWAYS = {"fd", "kd", "density", "coverage", "memorised"}
SEARCHED = {f"psnr_{shape}_{way}" for shape in ("centre", "random") for way in ("mean", "biharmonic", "searched")}


def write(root: Path, data: LabelledImages, names: tuple[str, ...], *, labelled: bool = True) -> Path:
    for i, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        folder = root / names[label] if labelled else root
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{i:04}.png")
    return root


def config(root: Path, **more: Any) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "bars", "format": "imagefolder", "path": root, "source": "s", "licence": "l", "channels": 1, **more}
    )


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory, train: LabelledImages, test: LabelledImages) -> DataConfig:
    root = tmp_path_factory.mktemp("bars")
    write(root / "train", train, NAMES)
    write(root / "test", test, NAMES)
    return config(root)


class Copier(torch.nn.Module):
    """Draws training pictures of the class asked for: the best label match and the worst memorisation there can be."""

    def __init__(self, train: LabelledImages, order: list[int]) -> None:
        super().__init__()
        self.register_buffer("images", train.images.float() / 127.5 - 1)
        self.labels, self.order = train.labels, torch.tensor(order)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        wanted = self.order[y.argmax(dim=1)]
        choices = [torch.nonzero(self.labels == label)[:, 0] for label in wanted.tolist()]
        index = torch.stack([c[int(row[0].abs() * 1e5) % len(c)] for c, row in zip(choices, z, strict=True)])
        return self.images[index]


def model(folder: Path, family: str, **hparams: Any) -> Checkpoint:
    return load_checkpoint(make_entry(folder, "tiny", family, resolution=16, **hparams))


def sane(metrics: dict[str, Metric]) -> None:
    for name, metric in metrics.items():
        assert torch.tensor([metric.value, metric.spread or 0.0, metric.floor or 0.0]).isfinite().all(), name
        assert metric.protocol.endswith("Quick check on few pictures: not comparable with a published number."), name
        assert "  " not in metric.protocol


def test_conditional_with_random_weights(labelled: DataConfig, tmp_path: Path, cache: Path) -> None:
    stages: list[tuple[str, float]] = []
    checkpoint = model(tmp_path, "conditional", classes=4, labels=NAMES)
    metrics = evaluate(checkpoint, labelled, quick=True, cache=cache, progress=lambda s, d: stages.append((s, d)))
    assert set(metrics) == ALWAYS | {"label_match", "cas", "cas_real", "cas_gap"}
    sane(metrics)
    assert metrics["fd"].value > 5 * metrics["fd"].floor  # type: ignore[operator]
    assert metrics["kd"].value > 5 * abs(metrics["kd"].floor or 0)
    assert metrics["coverage"].value < 0.2
    assert (metrics["coverage"].floor or 0) > 0.8
    assert metrics["cas_gap"].value == pytest.approx(metrics["cas_real"].value - metrics["cas"].value)
    assert metrics["label_match"].value < 0.6
    assert all(0 <= done <= 1 for _, done in stages)
    trained = len(list(cache.glob("*.json")))
    assert evaluate(checkpoint, labelled, quick=True, cache=cache) == metrics  # the same seeds, and classifiers from the cache
    assert len(list(cache.glob("*.json"))) == trained


def test_a_perfect_copier_shows_in_every_number(
    labelled: DataConfig, train: LabelledImages, tmp_path: Path, cache: Path
) -> None:
    # the checkpoint numbers its labels in another order than the data: they belong together by name
    names = tuple(sorted(NAMES, reverse=True))
    order = [NAMES.index(name) for name in names]
    checkpoint = replace(model(tmp_path, "conditional", classes=4, labels=names), generator=Copier(train, order).eval())
    found = measure(checkpoint, labelled, QUICK, cache=cache)
    metrics = found.metrics
    assert metrics["label_match"].value > 0.9
    assert metrics["cas_gap"].value < 0.1
    assert metrics["cas_gap_filtered"].value < 0.1
    assert metrics["label_match_filtered"].value >= metrics["label_match"].value
    assert metrics["coverage"].value > 0.8
    assert metrics["memorised"].value > 0.95
    assert (metrics["memorised"].floor or 0) < 0.05
    generated, nearest = found.closest[0]
    assert torch.equal(generated, nearest)
    assert min(found.label_recall) > 0.8


def test_unconditional_and_unlabelled(labelled: DataConfig, tmp_path: Path, cache: Path) -> None:
    checkpoint = model(tmp_path, "mlp")
    metrics = evaluate(checkpoint, labelled, quick=True, cache=cache)
    assert set(metrics) == ALWAYS | SEARCHED | {"classes_present"}
    sane(metrics)
    assert metrics["classes_present"].floor == 4
    assert metrics["classes_present"].n == 1000
    for split, seed in (("train", 0), ("test", 1)):
        write(tmp_path / "plain" / split, bars(240, seed), NAMES, labelled=False)
    plain = evaluate(checkpoint, config(tmp_path / "plain", mirror=True), quick=True, cache=cache)
    assert set(plain) == ALWAYS | SEARCHED
    sane(plain)
    assert "quarter turns" in plain["fd"].protocol


def test_data_of_another_model_are_refused(labelled: DataConfig, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="Set `resolution`"):
        evaluate(load_checkpoint(make_entry(tmp_path, "small", "mlp")), labelled, quick=True, cache=cache)
    other = model(tmp_path, "conditional", classes=4, labels=("left", "right", "top", "floor"))
    with pytest.raises(DataError, match="'bottom' is in one of them only"):
        evaluate(other, labelled, quick=True, cache=cache)
    assert isinstance(labelled.path, Path)
    with pytest.raises(NoTestSplitError):
        evaluate(
            model(tmp_path / "other", "dcgan", channels=1), config(labelled.path / "train", holdout=0), quick=True, cache=cache
        )
