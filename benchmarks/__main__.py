"""`python -m benchmarks`: the service against its in-process ceiling.

A real server in a process of its own, closed-loop callers over loopback. The ceiling is the same network, precision, sizes and
encoder in this process with nothing between them, measured in turn with the server, round by round; medians over the rounds.
Prints a table, and writes `runs/benchmark.json` and `runs/benchmark.png`.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from benchmarks.ceiling import Ceiling
from benchmarks.client import Load, get, load, post
from benchmarks.server import Server, serving
from models.tasks import Task
from tests.zoo_factory import make_entry
from training.__main__ import find_entry

COLOUR_64 = "colour-64"  # DCGAN, 4x4x512 to 64x64x3, random weights: what most people's first GAN is
SHIPPED = ("fashion", "digits-mlp")


@dataclass(frozen=True)
class Scenario:
    """One kind of load."""

    callers: int
    n: int = 1
    format_name: str = "png"

    def __str__(self) -> str:
        each = "one" if self.n == 1 else str(self.n)
        return f"{self.callers} caller{'s' * (self.callers > 1)}, {each} {self.format_name} each"


SCENARIOS = (
    Scenario(1), Scenario(8), Scenario(64), Scenario(8, 16, "zip"), Scenario(8, 64, "npy"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The medians of one scenario on one model."""

    model: str
    scenario: str
    pictures_per_s: float
    ceiling_pictures_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_picture: float
    failed: int

    @property
    def of_ceiling(self) -> float:
        """Share of the ceiling that the service reaches."""
        return self.pictures_per_s / self.ceiling_pictures_per_s


def requests(ceiling: Ceiling, model: str, scenario: Scenario) -> Callable[[int], bytes]:
    """The i-th request of a scenario. No seed is asked for twice."""
    if scenario.n == 1:
        return lambda i: get(f"/v1/images/{model}/{i}.png")
    route = "generate" if ceiling.checkpoint.manifest.task == Task.CONDITIONAL else "sample"
    accept = {"zip": "application/zip", "npy": "application/x-npy"}[scenario.format_name]
    return lambda i: post(f"/v1/{route}", json.dumps({"model": model, "n": scenario.n, "seed": i * scenario.n}), accept)


def highest(ceiling: Ceiling, scenario: Scenario, seconds: float) -> float:
    """Pictures a second without a service: all lanes, in batches as large as what so many callers wait for fills them."""
    lanes = 1 if scenario.callers == 1 else ceiling.device.lanes
    batch = min(scenario.n * scenario.callers // lanes, ceiling.network.sizes[-1])
    return ceiling.pictures_per_s(batch=batch, lanes=lanes, format_name=scenario.format_name, seconds=seconds)


def measure(server: Server, model: str, entry: Path, rounds: int, seconds: float) -> list[Row]:
    """Every scenario on one model, the ceiling and the service in turn."""
    ceiling = Ceiling(entry)
    tops: dict[Scenario, list[float]] = {s: [] for s in SCENARIOS}
    loads: dict[Scenario, list[Load]] = {s: [] for s in SCENARIOS}
    cpu: dict[Scenario, list[float]] = {s: [] for s in SCENARIOS}
    for _ in range(rounds):
        for scenario in SCENARIOS:
            tops[scenario].append(highest(ceiling, scenario, seconds))
            before = server.cpu_s()
            seen = asyncio.run(load(server.port, requests(ceiling, model, scenario), scenario.callers, seconds))
            loads[scenario].append(seen)
            cpu[scenario].append((server.cpu_s() - before) * 1000 / max(1, seen.requests_per_s * seconds * scenario.n))
    return [
        Row(
            model=model,
            scenario=str(s),
            pictures_per_s=statistics.median(x.requests_per_s for x in loads[s]) * s.n,
            ceiling_pictures_per_s=statistics.median(tops[s]),
            p50_ms=statistics.median(x.p50_ms for x in loads[s]),
            p99_ms=statistics.median(x.p99_ms for x in loads[s]),
            cpu_ms_per_picture=statistics.median(cpu[s]),
            failed=sum(x.failed + x.refused for x in loads[s]),
        )
        for s in SCENARIOS
    ]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | load | pictures/s | ceiling | of it | p50 ms | p99 ms | CPU ms/picture |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.model} | {r.scenario} | {r.pictures_per_s:.0f} | {r.ceiling_pictures_per_s:.0f} | {r.of_ceiling:.2f} "
        f"| {r.p50_ms:.1f} | {r.p99_ms:.1f} | {r.cpu_ms_per_picture:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def draw_bars(rows: list[Row], path: Path) -> None:
    """The share of the ceiling in each scenario, as a picture."""
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(rows) + 1), layout="constrained")
    axes.barh([f"{r.model}: {r.scenario}" for r in rows][::-1], [r.of_ceiling for r in rows][::-1], color="#2d5680")
    axes.axvline(1, color="#888", linewidth=1)
    axes.set_xlabel("pictures a second, as a share of the in-process ceiling")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--models", nargs="+", default=[COLOUR_64, *SHIPPED], help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        zoo = Path(folder)
        entries = {
            m: make_entry(zoo, m, "dcgan", z_dim=100, resolution=64, width=64, max_width=512) if m == COLOUR_64
            else find_entry(m, Path("models/zoo"))
            for m in options.models
        }  # fmt: skip
        for model, entry in entries.items():
            if model != COLOUR_64:
                (zoo / model).mkdir()
                (zoo / model / entry.name).symlink_to(entry.resolve())
        with serving(zoo, GANYMEDE_DEFAULT_MODEL=options.models[0]) as server:
            server.wait_for_all(zoo)
            for model, entry in entries.items():
                rows += measure(server, model, entry, options.rounds, options.seconds)
            about = {
                "date": datetime.now(UTC).date().isoformat(),
                "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
                "ready_after_s": server.ready_after_s,
                "peak_memory_mb": server.memory_mb("VmHWM"),
            }
    print(table(rows))
    print(f"\nready {about['ready_after_s']:.1f} s after its start; peak memory {about['peak_memory_mb']:.0f} MB")
    out = Path("runs")
    out.mkdir(exist_ok=True)
    listed = [asdict(r) | {"of_ceiling": r.of_ceiling} for r in rows]
    (out / "benchmark.json").write_text(json.dumps(about | {"rows": listed}, indent=2))
    draw_bars(rows, out / "benchmark.png")


if __name__ == "__main__":
    main()
