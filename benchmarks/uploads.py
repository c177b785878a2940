"""`python -m benchmarks.uploads`: what large pictures cost `/v1/upscale`, in time and in memory.

Each is sent to a server of its own, so that the peak is its own. Prints a Markdown table.
"""

import argparse
import io
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from benchmarks.server import serving

SIZES = [(320, 240), (1000, 800), (4000, 3000)]


@dataclass(frozen=True)
class Cost:
    """Of one request."""

    answer: str
    seconds: float
    idle_mb: float
    peak_mb: float


def photo(width: int, height: int) -> bytes:
    """A JPEG with detail at every scale."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, 3), np.float32)
    for step in (1, 8, 64):
        small = rng.integers(0, 256, (-(-height // step), -(-width // step), 3), np.uint8)
        total += np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32) / 3
    out = io.BytesIO()
    Image.fromarray(total.astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def cost(zoo: Path, model: str, size: tuple[int, int]) -> Cost:
    """Of enlarging one picture on a fresh server that has answered a small one."""
    with serving(zoo, GANYMEDE_DEFAULT_MODEL=model) as server:
        client = httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=600)
        small = {"image": ("x.jpg", photo(32, 32))}
        client.post("/v1/upscale", files=small, data={"model": model}).raise_for_status()
        idle = server.memory_mb()
        files = {"image": ("x.jpg", photo(*size))}
        began = time.perf_counter()
        response = client.post("/v1/upscale", files=files, data={"model": model}, headers={"Accept": "image/png"})
        seconds = time.perf_counter() - began
        if response.status_code == 200:
            with Image.open(io.BytesIO(response.content)) as made:
                answer = f"{made.width}x{made.height}"
        else:
            answer = f"{response.status_code}: {response.json()['detail']}"
        return Cost(answer, seconds, idle, server.memory_mb("VmHWM"))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--model", default="photo-x4")
    options = parser.parse_args()
    print("| sent | answer | seconds | memory before, MB | peak, MB |\n|---|---|---|---|---|")
    for size in SIZES:
        made = cost(options.zoo, options.model, size)
        print(f"| {size[0]}x{size[1]} | {made.answer} | {made.seconds:.1f} | {made.idle_mb:.0f} | {made.peak_mb:.0f} |")


if __name__ == "__main__":
    main()
