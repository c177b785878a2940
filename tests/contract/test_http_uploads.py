"""Anything that can be uploaded, sent to the service: the right size and channels back, or the documented refusal."""

import io
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from damaged_files import damaged, repaired, specimens
from picture_kinds import KINDS
from PIL import Image
from server_process import ServerProcess
from zoo_factory import make_entry

DRAWS = 8  # of each kind of file
DAMAGES = 120  # of each format
SCALE = 4
REFUSALS = {"bad-image", "unsupported-media-type", "image-too-large"}
ALLOWED_GROWTH_MB = 48  # over all damaged files: they would be a hundred times as much


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., ServerProcess]) -> ServerProcess:
    zoo = tmp_path_factory.mktemp("uploads") / "zoo"
    make_entry(zoo, "photo-x4", "srgan")
    make_entry(zoo, "facades", "pix2pix")
    server = start_server(zoo, GANYMEDE_MAX_PIXELS=str(2**18), GANYMEDE_DEFAULT_MODEL="photo-x4")
    server.wait_until_ready()
    return server


def send(client: httpx2.Client, path: str, data: bytes) -> httpx2.Response:
    return client.post(path, files={"image": ("upload.txt", data)}, headers={"Accept": "image/png"})


def test_these_are_more_than_500_pictures() -> None:
    assert len(KINDS) * DRAWS > 500


@pytest.mark.parametrize("name", KINDS)
def test_any_picture_gets_an_answer_of_its_size_and_channels(server: ServerProcess, name: str) -> None:
    rng = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    for draw in range(DRAWS):
        height, width = [(1, 1), (1, 47), (53, 1)][draw] if draw < 3 else (int(side) for side in rng.integers(1, 65, 2))
        made = KINDS[name](rng, height, width)
        answer = send(server.client, "/v1/upscale", made.data)
        assert answer.status_code == 200, (height, width, answer.text)
        with Image.open(io.BytesIO(answer.content)) as enlarged:
            assert enlarged.size == (width * SCALE, height * SCALE)
            assert enlarged.mode == ("L" if made.grey else "RGB") + ("A" if made.alpha is not None else "")
        translated = send(server.client, "/v1/translate", made.data)
        with Image.open(io.BytesIO(translated.content)) as picture:
            assert (picture.size, picture.mode) == ((width, height), "RGB")


def resident_mb(server: ServerProcess) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def test_damaged_files_cost_the_service_nothing(server: ServerProcess) -> None:
    rng = random.Random(11)
    refused = read = 0
    sizes = []
    for fmt in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"):
        files = specimens(fmt)
        for i in range(DAMAGES):
            data = damaged(rng, files)
            if fmt == "PNG" and i % 2:
                data = repaired(data)
            answer = send(server.client, "/v1/upscale", data)
            if answer.status_code == 200:
                read += 1
            elif data:
                refused += 1
                assert answer.json()["type"] in REFUSALS, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
        sizes.append(resident_mb(server))
    assert refused > DAMAGES and read > 0
    assert sizes[-1] - sizes[0] < ALLOWED_GROWTH_MB, sizes
    assert server.client.get("/readyz").status_code == 200


def test_a_long_enlargement_tells_its_progress(tmp_path: Path, start_server: Callable[..., ServerProcess]) -> None:
    zoo = tmp_path / "zoo"
    make_entry(zoo, "photo-x4", "srgan", width=32, blocks=8)
    server = start_server(
        zoo,
        GANYMEDE_TILE_PIXELS="1024",
        GANYMEDE_MAX_PIXELS=str(2**22),
        GANYMEDE_PROGRESS_SECONDS="0.02",
        GANYMEDE_CPU_THREADS="1",
    )
    server.wait_until_ready()
    data = io.BytesIO()
    Image.effect_noise((240, 160), 80).save(data, "PNG")
    assert send(server.client, "/v1/upscale", data.getvalue()).status_code == 200
    lines = [line for line in server.log().splitlines() if "tiles of photo-x4@1" in line]
    shares = [int(found[1]) / int(found[2]) for line in lines if (found := re.search(r"(\d+) of (\d+) tiles", line))]
    assert len(shares) >= 2 and shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
