"""Damaged uploads: refused or read, never half a picture, and nothing is left behind."""

import os
import random
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from damaged_files import damaged, repaired, specimens
from picture_files import (
    png_file,
    png_rows,
)
from picture_kinds import KINDS, noise
from upload_kit import LIMIT, read

from app.codecs.sieves import png
from app.codecs.upload import (
    BadPictureError,
    PictureError,
    PictureTooLargeError,
    UnsupportedPictureError,
)

DAMAGES = 600  # of each format


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"])
def test_damaged_files_are_refused_or_read_and_leave_nothing_behind(fmt: str, recwarn: pytest.WarningsRecorder) -> None:
    rng = random.Random(fmt)
    files = specimens(fmt)
    slowest, read_well, sizes = 0.0, 0, []
    for i in range(DAMAGES):
        data = damaged(rng, files)
        if fmt == "PNG" and i % 2:
            data = repaired(data)
        start = time.process_time()
        try:
            upload = read(data)
        except (BadPictureError, UnsupportedPictureError, PictureTooLargeError) as error:
            assert str(error) and len(str(error)) < 200 and " object at " not in str(error)
        else:
            read_well += 1
            height, width, _ = upload.pixels.shape
            assert height * width <= LIMIT
        slowest = max(slowest, time.process_time() - start)
        if i % (DAMAGES // 4) == 0:
            sizes.append(resident_bytes())
    assert slowest < 1
    assert 0 < read_well < DAMAGES
    assert sizes[-1] - sizes[1] < 8 * 2**20, sizes
    assert not recwarn.list


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_cut_off_is_never_half_a_picture(name: str) -> None:
    made = KINDS[name](np.random.default_rng(5), 11, 13)
    whole = read(made.data)
    animated = "animated" in name
    for length in range(len(made.data) - 1, -1, -1 - len(made.data) // 150):
        try:
            cut = read(made.data[:length])
        except PictureError:
            continue
        # what is missing there is the end of the last row's padding, or the mark that the file ends
        assert (len(made.data) - length <= 4 or animated) and (cut.pixels == whole.pixels).all(), length


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("missing", [1, 40, 400])
def test_a_png_whose_pixels_end_early_but_properly_is_refused(missing: int, interlaced: bool) -> None:
    """Pillow would leave the last rows black."""
    rows = bytes(30 * (30 * 3 + 1))
    full = png_file(np.zeros((30, 30, 3), np.uint8), pixels=zlib.compress(rows))
    assert read(full).pixels.shape == (30, 30, 3)
    with pytest.raises(BadPictureError, match="cut off"):
        read(png_file(np.zeros((30, 30, 3), np.uint8), interlaced=interlaced, pixels=zlib.compress(rows[:-missing])))


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("step", [1, 1000, 2**14, png.STEP])
def test_a_png_of_any_compression_is_complete(level: int, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels that inflate a lot, or not at all, so that steps of inflating end everywhere."""
    monkeypatch.setattr(png, "STEP", step)
    side = 12 if step == 1 else 400
    for samples in (np.zeros((side, side, 3), np.uint8), noise(np.random.default_rng(0), side, side, 3) // 16):
        data = png_file(samples, pixels=zlib.compress(png_rows(samples, 8), level))
        assert (read(data, 10**6).pixels == samples).all()
