"""What goes into a zoo entry so that the service can tell how good a data set drawn from it is: see `models.manifest.Proof`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import Checkpoint, attachment, pack_weights
from models.classifier import FEATURES, JUDGE, Recipe
from models.copies import make_index
from models.manifest import Proof, Reader, RealScore
from models.progress import Progress
from models.worth import AUGMENTED, PLAIN, SEEDS
from training.config import ProofConfig
from training.data import DataConfig, LabelledImages
from training.evaluate import fitting_splits
from training.evaluate_labels import FILTER_SEED
from training.metrics.cache import Trained, trained_classifier

JUDGE_SEED = 1  # the judge of `label_match`, which no choice is made by
SUBSET_SEED = 0
REAL_FILE, INDEX_FILE = "real.parquet", "index.safetensors"


@dataclass(frozen=True)
class Scale:
    """How thorough it is."""

    reader: Recipe = FEATURES
    judge: Recipe = JUDGE
    plain: Recipe = PLAIN
    augmented: Recipe = AUGMENTED
    seeds: Sequence[int] = SEEDS


FULL = Scale()


def _quick(recipe: Recipe) -> Recipe:
    return replace(recipe, design=replace(recipe.design, widths=(8, 16, 24, 32), features=32), images=1_600, batch=32)


QUICK = Scale(_quick(FEATURES), _quick(JUDGE), _quick(PLAIN), _quick(AUGMENTED), SEEDS[:1])


@dataclass(frozen=True)
class Proved:
    """A part of a manifest, and the files that it describes, by name."""

    proof: Proof
    files: dict[str, bytes] = field(default_factory=dict)


def prove(
    checkpoint: Checkpoint, data: DataConfig, config: ProofConfig, cache: Path, progress: Progress, scale: Scale = FULL
) -> Proved:
    """Of a model that draws from latents, from its data. Raises `DataError` where there is no test split."""
    train, test = fitting_splits(checkpoint, data)
    progress("indexing training pictures", 0.0)
    files = {INDEX_FILE: make_index(train.images, test.images).pack()}
    proof = Proof(index=attachment(INDEX_FILE, files[INDEX_FILE]), mirror=data.mirror)
    if not checkpoint.latent.classes:
        return Proved(proof, files)
    readers = {}
    for name, recipe, seed in (("filter", scale.reader, FILTER_SEED), ("judge", scale.judge, JUDGE_SEED)):
        trained = trained_classifier(
            train, test, recipe=recipe, seed=seed, mirror=data.mirror, cache=cache,
            progress=lambda _, done, name=name: progress(f"training the {name}", done),
        )  # fmt: skip
        readers[name], files[f"{name}.safetensors"] = described(name, recipe, trained)
    real = None
    if config.real_train and config.real_test:
        files[REAL_FILE] = as_parquet({"train": some(train, config.real_train), "test": some(test, config.real_test)})
        real = attachment(REAL_FILE, files[REAL_FILE])
    curve = real_curve(train, test, config.curve, data, cache, progress, scale)
    return Proved(proof.model_copy(update={"readers": readers, "real": real, "real_curve": curve}), files)


def described(name: str, recipe: Recipe, trained: Trained) -> tuple[Reader, bytes]:
    """A reader for the manifest, and its file."""
    data, weights = pack_weights(trained.network.state_dict(), f"{name}.safetensors")
    design = recipe.design
    reader = Reader(
        kind=design.kind, widths=design.widths, features=design.features, weights=weights, accuracy=trained.test_accuracy
    )
    return reader, data


def some(data: LabelledImages, per_class: int) -> LabelledImages:
    """Up to so many pictures of each class, chosen at random once and for ever."""
    generator = torch.Generator().manual_seed(SUBSET_SEED)
    shuffled = torch.randperm(len(data), generator=generator)
    labels = data.labels[shuffled]
    chosen = torch.cat([shuffled[labels == label][:per_class] for label in range(data.classes)]).sort().values
    return LabelledImages(data.images[chosen], data.labels[chosen], data.label_names)


def real_curve(
    train: LabelledImages,
    test: LabelledImages,
    per_class: Sequence[int],
    data: DataConfig,
    cache: Path,
    progress: Progress,
    scale: Scale,
) -> tuple[RealScore, ...]:
    """What real pictures teach, from a few of each class to all that there are."""
    largest = int(torch.bincount(train.labels).max())
    sizes = [*(n for n in sorted(per_class) if n < largest), largest]
    points = []
    for i, size in enumerate(sizes):
        subset = train if size == largest else some(train, size)

        def taught(recipe: Recipe, seed: int, mirror: bool, subset: LabelledImages = subset) -> float:
            learned = trained_classifier(subset, test, recipe=recipe, seed=seed, mirror=mirror, cache=cache)
            return learned.test_accuracy

        progress("measuring what real pictures teach", i / len(sizes))
        plain = tuple(taught(scale.plain, seed, mirror=False) for seed in scale.seeds)
        augmented = tuple(taught(scale.augmented, seed, mirror=data.mirror) for seed in scale.seeds)
        points.append(RealScore(per_class=size, pictures=len(subset), plain=plain, augmented=augmented))
    progress("measuring what real pictures teach", 1.0)
    return tuple(points)


def as_parquet(splits: dict[str, LabelledImages]) -> bytes:
    """Pictures as the Hugging Face image feature has them, with `label` and `split`."""
    images, labels, names = [], [], []
    for name, pictures in splits.items():
        images += [{"bytes": as_png(picture), "path": None} for picture in pictures.images]
        labels += pictures.labels.tolist()
        names += [name] * len(pictures)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, image), "label": pa.array(labels, pa.int64()), "split": names})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def as_png(picture: Tensor) -> bytes:
    """A picture uint8 (C, H, W)."""
    pixels = picture.permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
