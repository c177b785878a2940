"""`python -m app.datasets.worth FOLDER`: measures in a process of its own, which gives way to every other.

Reads `made.npz` (images, labels), `real.npz` (see `real.Splits`) and `task.json`; writes `result.json` and
`usefulness.png`. Each line that it prints says how far it is.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from app.datasets.worth.curve import draw_curve
from app.datasets.worth.real import unpack
from models.worth import AUGMENTED, PLAIN, Point, RealSet, as_tensors, measure


def main(folder: Path) -> None:
    """Everything there is to do."""
    os.nice(10)
    torch.set_num_threads(1)
    task = json.loads((folder / "task.json").read_bytes())
    with np.load(folder / "made.npz", allow_pickle=False) as kept:
        made = as_tensors(kept["images"], kept["labels"])
    real = unpack((folder / "real.npz").read_bytes())
    train, test = as_tensors(real.train.images, real.train.labels), as_tensors(real.test.images, real.test.labels)

    def tell(what: str, share: float) -> None:
        sys.stdout.write(f"{share:.4f} {what}\n")
        sys.stdout.flush()

    curve = [Point(**point) for point in task["curve"]]
    plain, augmented = (replace(recipe, images=task["images"]) for recipe in (PLAIN, AUGMENTED))
    result = measure(
        made, RealSet(*train, *test), task["classes"],
        mirror=task["mirror"], curve=curve, tell=tell, plain=plain, augmented=augmented,
    )  # fmt: skip
    (folder / "usefulness.png").write_bytes(draw_curve(result))
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
