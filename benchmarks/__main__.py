"""`python -m benchmarks`: pictures a second over HTTP against the in-process ceiling, for 1, 8 and 64 callers.

A real server in a process of its own, closed-loop callers over loopback, one PNG a request. The ceiling is the same network,
the same micro-batches and the same encoder in this process with nothing between them, measured in turn with the server, round
by round. Writes a table to stdout and `runs/benchmark.json`.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np

from app.codecs import png
from app.codecs.picture import Picture, Provenance
from app.engine.device import open_device
from models.checkpoint import load_checkpoint
from models.latents import latents, one_hot
from training.__main__ import find_entry

CALLERS = (1, 8, 64)


def ceiling(entry: Path, seconds: float) -> float:
    """Pictures a second of forward and PNG encoding, as many threads as the service would use."""
    device = open_device("cpu", "auto")
    checkpoint = load_checkpoint(entry)
    generator, hparams, manifest = device.prepare(checkpoint.generator), checkpoint.hparams, checkpoint.manifest
    until = time.perf_counter() + seconds

    def lane(first_seed: int) -> int:
        device.start_thread()
        drawn = 0
        while time.perf_counter() < until:
            seeds = range(first_seed + drawn, first_seed + drawn + device.micro_batch)
            rows = [latents(seeds, hparams.z_dim)]
            if hparams.classes:
                rows.append(one_hot([seed % hparams.classes for seed in seeds], hparams.classes))
            for seed, picture in zip(seeds, device.run(generator, tuple(rows)), strict=True):
                png.encode([Picture(picture, Provenance(manifest.name, manifest.version, seed, None, 1.0))])
            drawn += device.micro_batch
        return drawn

    began = time.perf_counter()
    with ThreadPoolExecutor(device.lanes) as pool:
        drawn = sum(pool.map(lane, range(0, 10**6 * device.lanes, 10**6)))
    return drawn / (time.perf_counter() - began)


async def load(url: str, callers: int, seconds: float) -> tuple[float, list[float]]:
    """Pictures a second and the latencies in ms of `callers` callers who each ask again as soon as they are answered."""
    latencies: list[float] = []
    limits = httpx2.Limits(max_connections=callers)
    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        until = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            seed = number * 10**9
            while time.perf_counter() < until:
                began = time.perf_counter()
                (await client.get(f"{seed}.png")).raise_for_status()
                latencies.append((time.perf_counter() - began) * 1000)
                seed += 1

        began = time.perf_counter()
        await asyncio.gather(*(caller(i) for i in range(callers)))
        return len(latencies) / (time.perf_counter() - began), latencies


def serve(zoo: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server on a free port, once it is ready."""
    with log.open("wb") as output:
        settings = {"GANYMEDE_PORT": "0", "GANYMEDE_MODELS_DIR": str(zoo), "GANYMEDE_LOG_LEVEL": "info"}
        server = subprocess.Popen([sys.executable, "-m", "app"], env={**os.environ, **settings}, stdout=output, stderr=output)
    while server.poll() is None:
        if found := re.search(r"running on (http://[\d.:]+)", log.read_text()):
            while httpx2.get(f"{found[1]}/readyz").status_code != 200:
                time.sleep(0.05)
            return server, found[1]
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--model", default="fashion")
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    entry = find_entry(options.model, options.zoo)
    ceilings: list[float] = []
    rates: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    latencies: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    with tempfile.TemporaryDirectory() as folder:
        server, url = serve(options.zoo, Path(folder) / "log")
        try:
            for _ in range(options.rounds):
                ceilings.append(ceiling(entry, options.seconds))
                for callers in CALLERS:
                    rate, times = asyncio.run(load(f"{url}/v1/images/{options.model}/", callers, options.seconds))
                    rates[callers].append(rate)
                    latencies[callers] += times
        finally:
            server.terminate()
            server.wait()
    top = statistics.median(ceilings)
    rows = []
    for callers in CALLERS:
        rate = statistics.median(rates[callers])
        p50, p99 = np.percentile(latencies[callers], [50, 99])
        rows.append({"callers": callers, "pictures_per_s": rate, "of_ceiling": rate / top, "p50_ms": p50, "p99_ms": p99})
    print(f"{options.model}, in process: {top:.0f} pictures/s\n")
    print("| callers | pictures/s | of the ceiling | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['callers']} | {row['pictures_per_s']:.0f} | {row['of_ceiling']:.2f} "
            f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} |"
        )
    out = Path("runs/benchmark.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"model": options.model, "ceiling_pictures_per_s": top, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
