"""Zoo entries with seeded random weights: real families and a real loader, at sizes that take milliseconds."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from models.checkpoint import attachment, pack_weights, save_checkpoint
from models.classifier import Classifier, Design
from models.codes import Code
from models.copies import make_index
from models.families import family_named
from models.manifest import Data, Manifest, Metric, Output, Proof, Reader, RealScore, Training
from training.data import LabelledImages
from training.proof import as_parquet

CLOTHES = ("T-shirt", "Trouser", "Ankle boot")
CODES = (
    Code(name="garment", kind="category", values=CLOTHES),
    Code(name="slant", kind="continuous"),
    Code(name="width", kind="continuous"),
)

TINY: dict[str, dict[str, Any]] = {
    "conditional": {"z_dim": 8, "resolution": 16, "channels": 1, "classes": 3, "embed_dim": 4, "widths": (16, 8)},
    "mlp": {"z_dim": 8, "resolution": 8, "channels": 1, "hidden": (16,), "d_hidden": (16,)},
    "dcgan": {"z_dim": 8, "resolution": 16, "channels": 3, "width": 8, "max_width": 16},
    "infogan": {
        "z_dim": 8, "resolution": 16, "channels": 1, "categories": 3, "continuous": 2, "embed_dim": 4, "widths": (16, 8),
    },
    "progressive": {"z_dim": 8, "resolution": 16, "channels": 3, "widths": (16, 8)},
    "semi": {"z_dim": 8, "resolution": 16, "channels": 1, "label_names": CLOTHES, "width": 16, "d_width": 8, "feature_dim": 16},
    "pix2pix": {"resolution": 16, "width": 8, "max_width": 16, "depth": 3, "d_width": 4, "d_halvings": 1},
    "cyclegan": {"resolution": 16, "widths": (8, 8, 16), "blocks": 2, "d_width": 4, "d_halvings": 1},
    "inpaint": {"resolution": 16, "z_dim": 4, "width": 8, "max_width": 16, "depth": 2, "d_width": 4, "d_halvings": 1},
    "srgan": {"resolution": 32, "channels": 3, "width": 8, "blocks": 2, "d_width": 4},
}  # fmt: skip
REAL_SIZE: dict[str, dict[str, Any]] = {
    "conditional": {"z_dim": 64, "resolution": 28, "channels": 1, "classes": 10, "widths": (128, 64, 32)},
    "mlp": {"z_dim": 100, "resolution": 28, "channels": 1},
    "dcgan": {"z_dim": 64, "resolution": 64, "channels": 3},
}


def make_entry(
    zoo: Path,
    name: str,
    family: str,
    *,
    version: int = 1,
    labels: tuple[str, ...] | None = None,
    weights_seed: int = 0,
    proved: bool = False,
    **hparams: Any,
) -> Path:
    """Publishes an entry with random weights and returns its folder. `hparams` override the tiny ones of the family.

    `proved`: with what data sets are proved with, of random networks and noise.
    """
    definition = family_named(family)
    hp = definition.hparams.model_validate(TINY[family] | hparams)
    if labels is None:
        classes = getattr(hp, "classes", 0)
        labels = CLOTHES if classes == len(CLOTHES) else tuple(f"class {i}" for i in range(classes))
    with torch.random.fork_rng():
        torch.manual_seed(weights_seed)
        data, weights = pack_weights(random_state(definition.generator(hp)))
        extras = {part: pack_weights(random_state(make(hp)), f"{part}.safetensors") for part, make in definition.extras.items()}
    proof, attached = proof_of(hp, labels) if proved else (None, {})
    sheet = io.BytesIO()
    Image.new("L", (8, 8), 128).save(sheet, "PNG")
    manifest = Manifest(
        name=name,
        version=version,
        family=family,
        task=definition.task,
        hparams=hp.model_dump(mode="json"),
        output=Output(channels=hp.channels, height=hp.resolution, width=hp.resolution),
        labels=labels,
        codes=CODES if family == "infogan" else (),
        weights=weights,
        extras={part: described for part, (_, described) in extras.items()},
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        licence="Apache-2.0",
        data=Data(name="noise", source="drawn for this test", licence="CC0-1.0", items=1, sha256="0" * 64),
        training=Training(
            config={}, images_seen=0, seconds=0, hardware="none", torch=str(torch.__version__), python="3.11", commit=None
        ),
        metrics={"kid": Metric(value=1.5, spread=0.1, floor=0.0, n=100, protocol="none: random weights")},
        proof=proof,
    )
    card = f"# {name}\n\nRandom weights, for tests.\n"
    return save_checkpoint(zoo, manifest, data, sheet.getvalue(), card, {w.file: raw for raw, w in extras.values()} | attached)


def proof_of(hp: Any, labels: tuple[str, ...]) -> tuple[Proof, dict[str, bytes]]:
    """Readers with random weights, noise to learn from, and an index of noise."""
    generator = torch.Generator().manual_seed(1)
    shape = (hp.channels, hp.resolution, hp.resolution)
    train, test = (torch.randint(0, 256, (60, *shape), dtype=torch.uint8, generator=generator) for _ in range(2))
    files = {"index.safetensors": make_index(train, test, dimensions=16).pack()}
    proof = Proof(index=attachment("index.safetensors", files["index.safetensors"]))
    if not labels:
        return proof, files
    readers = {}
    for i, (name, kind) in enumerate((("filter", "pooled"), ("judge", "strided"))):
        with torch.random.fork_rng():
            torch.manual_seed(i)
            design = Design(kind, (8, 8, 8, 8), features=8)  # type: ignore[arg-type]
            network = Classifier(design, side=hp.resolution, channels=hp.channels, classes=len(labels))
            files[f"{name}.safetensors"], weights = pack_weights(network.state_dict(), f"{name}.safetensors")
        readers[name] = Reader(kind=design.kind, widths=design.widths, features=8, weights=weights, accuracy=0.5)
    numbered = torch.arange(60) % len(labels)
    splits = {"train": LabelledImages(train, numbered, labels), "test": LabelledImages(test, numbered, labels)}
    files["real.parquet"] = as_parquet(splits)
    curve = (
        RealScore(per_class=10, pictures=30, plain=(0.3,), augmented=(0.3,)),
        RealScore(per_class=20, pictures=60, plain=(0.4,), augmented=(0.4,)),
    )
    update = {"readers": readers, "real": attachment("real.parquet", files["real.parquet"]), "real_curve": curve}
    return proof.model_copy(update=update), files


def random_state(network: nn.Module) -> dict[str, Tensor]:
    """Its weights, none of them zero: residual branches start so, which would leave most of the network untested."""
    return {k: v + 0.1 * torch.randn_like(v) for k, v in network.state_dict().items()}


def make_zoo(zoo: Path) -> Path:
    """A zoo with one tiny model of each family: `fashion` (conditional), `digits-mlp` and `blobs` (DCGAN)."""
    make_entry(zoo, "fashion", "conditional")
    make_entry(zoo, "digits-mlp", "mlp")
    make_entry(zoo, "blobs", "dcgan")
    return zoo


def make_translators(zoo: Path) -> Path:
    """A zoo with one tiny model of each family that answers pictures."""
    make_entry(zoo, "facades", "pix2pix")
    make_entry(zoo, "horses", "cyclegan")
    make_entry(zoo, "photo-x4", "srgan")
    make_entry(zoo, "holes", "inpaint")
    return zoo
