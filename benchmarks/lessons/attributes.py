"""Named attributes of generated pictures, by two classifiers: one finds directions among latents, the other judges them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.classifier import FEATURES, JUDGE, Classifier, Recipe, predict
from training.data import DataConfig, load_labelled
from training.metrics.cache import DEFAULT_CACHE, trained_classifier


@dataclass(frozen=True)
class Attribute:
    """A column of the data's `metadata.csv`, and those of its values that have enough pictures."""

    column: str
    values: tuple[str, ...]


KIND = Attribute("subCategory", ("Topwear", "Shoes", "Bottomwear"))
COLOUR = Attribute("baseColour", ("Black", "Blue", "White", "Grey", "Brown", "Red", "Green", "Purple", "Pink"))


@dataclass(frozen=True)
class Readers:
    """Two classifiers of one attribute, of different designs and seeds, trained on real pictures alone."""

    attribute: Attribute
    finder: Classifier
    judge: Classifier
    accuracy: float  # the judge's, on the real test split

    def found(self, images: Tensor) -> Tensor:
        """What the finder reads in pictures uint8 (N, C, H, W): indices (N,) into the attribute's values."""
        return predict(self.finder, images).labels

    def judged(self, images: Tensor) -> Tensor:
        """The same, read by the judge."""
        return predict(self.judge, images).labels


def readers_of(attribute: Attribute, data: DataConfig, cache: Path = DEFAULT_CACHE) -> Readers:
    """Trains both, or takes them from the cache."""
    labelled = data.model_copy(update={"label_column": attribute.column, "labels": attribute.values})
    train, test = load_labelled(labelled, "train"), load_labelled(labelled, "test")

    def reader(recipe: Recipe, seed: int) -> tuple[Classifier, float]:
        trained = trained_classifier(train, test, recipe=recipe, seed=seed, mirror=data.mirror, cache=cache)
        return trained.network, trained.test_accuracy

    finder, _ = reader(FEATURES, 0)
    judge, accuracy = reader(JUDGE, 1)
    return Readers(attribute, finder, judge, accuracy)


def directions(z: Tensor, read: Tensor, values: int) -> Tensor:
    """From latents (N, z_dim) and what was read in their pictures (N,): one of unit length for each value, (values, z_dim).

    The way from the mean latent of all other values to that of the value's own.
    """
    ways = [z[read == value].mean(dim=0) - z[read != value].mean(dim=0) for value in range(values)]
    return torch.nn.functional.normalize(torch.stack(ways))
