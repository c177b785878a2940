"""`python -m benchmarks.encoders`: what a picture costs to encode, in time and bytes, by encoder and kind of picture.

The pictures are those that the shipped model draws, and the same enlarged to 64 px in colour with sensor-like noise.
"""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.codecs import jpeg, png, webp
from app.codecs.picture import Picture, Provenance
from benchmarks.ceiling import Ceiling
from models.latents import latents, one_hot
from training.__main__ import find_entry

REPEATS = 300


def pillow_png(picture: Picture, **options: int) -> bytes:
    """Pillow's PNG with the same texts as ours."""
    chunks = PngInfo()
    for key, text in picture.provenance.texts().items():
        chunks.add_text(key, text)
    out = io.BytesIO()
    picture.image().save(out, "PNG", pnginfo=chunks, **options)
    return out.getvalue()


ENCODERS: dict[str, Callable[[Picture], bytes]] = {
    "PNG, as served": lambda p: png.encode([p]),
    "PNG, Pillow's default": pillow_png,
    "PNG, Pillow level 1": lambda p: pillow_png(p, compress_level=1),
    "PNG, Pillow level 1, run lengths": lambda p: pillow_png(p, compress_level=1, compress_type=3),
    "WebP, as served": lambda p: webp.encode([p]),
    "JPEG, as served": lambda p: jpeg.encode([p]),
}


def samples() -> dict[str, list[Picture]]:
    """Pictures to encode, by kind."""
    ceiling = Ceiling(find_entry("fashion", Path("models/zoo")))
    rows = (latents(range(8), ceiling.checkpoint.hparams.z_dim), one_hot(list(range(8)), ceiling.checkpoint.hparams.classes))
    grey = [Picture(pixels, Provenance("fashion", 1, i, "Sneaker", 1.0)) for i, pixels in enumerate(ceiling.network.draw(rows))]
    noise = np.random.default_rng(0)
    colour = []
    for picture in grey:
        large = np.asarray(picture.image().convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
        noisy = (large + noise.integers(-4, 5, large.shape)).clip(0, 255).astype(np.uint8)
        colour.append(Picture(noisy, picture.provenance))
    return {"28x28 grey": grey, "64x64 colour": colour}


def main() -> None:
    """Prints a table."""
    print("| picture | encoder | µs | bytes |\n|---|---|---|---|")
    for kind, pictures in samples().items():
        for name, encode in ENCODERS.items():
            times = []
            for i in range(REPEATS):
                began = time.perf_counter()
                encode(pictures[i % len(pictures)])
                times.append(time.perf_counter() - began)
            size = np.mean([len(encode(p)) for p in pictures])
            print(f"| {kind} | {name} | {np.median(times) * 1e6:.0f} | {size:.0f} |")


if __name__ == "__main__":
    main()
