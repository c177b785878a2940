"""The in-process ceiling: the same network, sizes, precision and encoder as the service's, with nothing between them."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.codecs import npy, png, still_of
from app.codecs.picture import Picture, Provenance
from app.engine.device import Device, Network, open_device
from app.engine.loading import example_rows
from models.checkpoint import Checkpoint, load_checkpoint
from models.latents import latents, one_hot

in_an_array = still_of(npy.Array)


class Ceiling:
    """One model on the device, as the service would run it."""

    def __init__(self, entry: Path) -> None:
        self.device: Device = open_device("cpu", "auto")
        self.checkpoint: Checkpoint = load_checkpoint(entry)
        self.network: Network = self.device.prepare(self.checkpoint.generator, example_rows(self.checkpoint))

    def pictures_per_s(self, *, batch: int, lanes: int, format_name: str, seconds: float) -> float:
        """Pictures a second of `lanes` threads, each drawing and encoding `batch` at a time."""
        hparams, manifest = self.checkpoint.latent, self.checkpoint.manifest
        until = time.perf_counter() + seconds

        def lane(first_seed: int) -> int:
            self.device.start_thread()
            drawn = 0
            while time.perf_counter() < until:
                seeds = range(first_seed + drawn, first_seed + drawn + batch)
                rows = (latents(seeds, hparams.z_dim),)
                if hparams.classes:
                    rows += (one_hot([seed % hparams.classes for seed in seeds], hparams.classes),)
                pictures = [
                    Picture(pixels, Provenance(manifest.name, manifest.version, seed, None, 1.0))
                    for seed, pixels in zip(seeds, self.network.draw(rows), strict=True)
                ]
                if format_name == "npy":
                    in_an_array(pictures)
                else:
                    for picture in pictures:
                        png.encode([picture])
                drawn += batch
            return drawn

        began = time.perf_counter()
        with ThreadPoolExecutor(lanes) as pool:
            drawn = sum(pool.map(lane, range(0, 10**6 * lanes, 10**6)))
        return drawn / (time.perf_counter() - began)
