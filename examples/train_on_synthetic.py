"""Orders a labelled data set from a running Ganymede, trains a small network on it, and tests it on pictures that it held back.

    make serve                                            # in another terminal
    .venv/bin/python examples/train_on_synthetic.py --model fashion --per-class 1000

Needs `pip install datasets httpx2`. With --real it is tested on a folder of real pictures, too: IDX files such as
Fashion-MNIST's test split (t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz).
"""

import argparse
import gzip
import json
import tempfile
from pathlib import Path

import datasets
import httpx2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def order(client: httpx2.Client, model: str, per_class: int, seed: int) -> dict:
    """Creates a job, and waits until it is finished."""
    wanted = {"model": model, "per_class": per_class, "seed": seed, "format": "parquet", "split": {"train": 0.9, "test": 0.1}}
    response = client.post("/v1/datasets", json=wanted)
    response.raise_for_status()
    job = response.json()
    with client.stream("GET", f"/v1/datasets/{job['id']}/events", timeout=None) as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                job = json.loads(line.removeprefix("data: "))
                print(f"\r{job['status']}: {job['done']:,} of {job['total']:,} pictures", end="", flush=True)
    print()
    if job["status"] != "succeeded":
        raise SystemExit(f"the data set was not made: {job['error']}")
    return job


def download(client: httpx2.Client, job: dict, folder: Path) -> datasets.DatasetDict:
    """Its parquet files, as Hugging Face's `datasets` reads them."""
    for file in job["files"]:
        (folder / file["name"]).write_bytes(client.get(f"/v1/datasets/{job['id']}/files/{file['name']}").content)
    files = {split: str(folder / f"{split}-*.parquet") for split in ("train", "test")}
    return datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache"))


def tensors(rows: datasets.Dataset) -> tuple[Tensor, Tensor]:
    """Pictures (N, C, H, W) in [0, 1], and labels (N,)."""
    pictures = np.stack([np.atleast_3d(np.asarray(picture)) for picture in rows["image"]])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, torch.tensor(rows["label"])


def idx(path: Path) -> np.ndarray:
    """One of MNIST's files."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def network(channels: int, classes: int) -> nn.Module:
    """Three convolutions and a linear layer."""
    layers: list[nn.Module] = []
    for a, b in ((channels, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(a, b, kernel_size=3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def train(net: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam, 64 pictures a step."""
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(epochs):
        net.train()
        for part in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(net(images[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}")


@torch.inference_mode()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share that it gets right."""
    net.eval()
    right = [(net(x).argmax(1) == y).sum().item() for x, y in zip(images.split(256), labels.split(256), strict=True)]
    return sum(right) / len(labels)


def main() -> None:
    """Orders, trains, tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="fashion")
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--real", type=Path, help="folder of t10k-*-ubyte.gz")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    with httpx2.Client(base_url=options.url, timeout=60) as client, tempfile.TemporaryDirectory() as folder:
        job = order(client, options.model, options.per_class, options.seed)
        made = download(client, job, Path(folder))
        (images, labels), held_back = tensors(made["train"]), tensors(made["test"])
        net = network(images.shape[1], len(made["train"].features["label"].names))
        train(net, images, labels, options.epochs)
        print(f"right on held-back synthetic pictures: {accuracy(net, *held_back):.1%}")
        if options.real:
            real = torch.from_numpy(idx(options.real / "t10k-images-idx3-ubyte.gz").copy())[:, None].float() / 255
            labels = torch.from_numpy(idx(options.real / "t10k-labels-idx1-ubyte.gz").astype(np.int64))
            print(f"right on {len(real):,} real pictures: {accuracy(net, real, labels):.1%}")


if __name__ == "__main__":
    main()
