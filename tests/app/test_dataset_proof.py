"""What a data set says of itself: labels, copies, the filter, and what real pictures it is measured on."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_kit import run
from engine_kit import running as engine_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import beta
from zoo_factory import CLOTHES, make_entry

from app.datasets.errors import UnfillableError
from app.datasets.formats.row import Row
from app.datasets.picking import Picker, its_pixels
from app.datasets.spec import Filter, Spec, contents
from app.datasets.tally import BINS, Close, Tally, quantiles, total, upper_bound
from app.datasets.worth.real import RealSetError, of_model, of_zip, unpack
from app.engine.engine import Engine
from app.engine.loading import FILTER
from models.checkpoint import read_attachment
from models.copies import unpack as unpack_index

SHAPE = (16, 16, 1)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_that_of_the_textbooks(case: tuple[int, int]) -> None:
    wrong, of = case
    expected = 1.0 if wrong == of else beta.ppf(0.95, wrong + 1, of - wrong)
    assert upper_bound(wrong, of) == pytest.approx(expected, abs=1e-9)


def test_no_error_in_three_hundred_speaks_for_at_most_one_in_a_hundred() -> None:
    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))


def test_quantiles_by_hand() -> None:
    bins = [0] * 10
    bins[2], bins[7] = 9, 1
    assert quantiles(bins, (0.5, 0.9, 0.99)) == [0.3, 0.3, 0.8]
    assert quantiles([0] * 10, (0.5,)) == [None]


tallies = st.builds(
    Tally,
    st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(1, 9)).map(Counter),
    st.lists(st.integers(0, 5), min_size=BINS, max_size=BINS),
    st.lists(st.builds(Close, st.floats(-1, 1), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), max_size=3),
    st.dictionaries(st.integers(0, 99), st.integers(2, 9)),
    st.dictionaries(
        st.sampled_from(["confidence", "similarity"]), st.dictionaries(st.integers(0, 3), st.integers(1, 9)).map(Counter)
    ),
)


@given(tallies)
def test_a_tally_survives_the_database(tally: Tally) -> None:
    assert Tally.from_json(tally.as_json()) == tally


@given(tallies, tallies)
def test_tallies_add_up(a: Tally, b: Tally) -> None:
    both = total([a, b])
    assert both.read.total() == a.read.total() + b.read.total()
    assert sum(both.similarity) == sum(a.similarity) + sum(b.similarity)
    assert both.closest == sorted([*a.closest, *b.closest], reverse=True)[:8]
    assert both.refused.keys() == a.refused.keys() | b.refused.keys()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    zoo = tmp_path_factory.mktemp("zoo")
    make_entry(zoo, "fashion", "conditional", proved=True)
    return zoo


def spec(counts: tuple[int, ...] = (20, 15, 25), **limits: float) -> Spec:
    return Spec("fashion", 1, CLOTHES, counts, 3, 1.0, "npz", 1000, {"train": 1.0}, Filter(**limits))


async def picked(engine: Engine, wanted: Spec, *, chunk: int = 1000) -> tuple[list[Row], Tally]:
    served = engine.catalog.find("fashion@1")
    proof = served.manifest.proof
    assert proof is not None
    index = unpack_index(read_attachment(served.folder, proof.index))
    picker = Picker(engine, served, wanted, contents(wanted), index)
    rows, tally = [], Tally()
    for start in range(0, wanted.total, chunk):
        more, of_more = await picker.rows(start, min(start + chunk, wanted.total), its_pixels)
        rows += more
        tally.add(of_more)
    return rows, tally


async def limit_that_halves(engine: Engine) -> float:
    """A confidence that about half of the pictures of one class have, and more of the others: of no class, none."""
    rows, _ = await picked(engine, spec())
    sure = await confidences(engine, rows)
    return min(float(np.median([s for s, row in zip(sure, rows, strict=True) if row.label == label])) for label in range(3))


async def confidences(engine: Engine, rows: list[Row]) -> list[float]:
    pictures = np.stack([row.picture for row in rows])
    read = await engine.pictures.read(engine.catalog.find("fashion@1"), FILTER, pictures, 60)
    return [float(p[row.label]) for p, row in zip(read, rows, strict=True)]


def test_the_filter_leaves_what_it_should_and_counts_stay_exact(zoo: Path) -> None:
    async def check() -> None:
        async with engine_of(zoo) as engine:
            plain, _ = await picked(engine, spec())
            limit = await limit_that_halves(engine)
            rows, tally = await picked(engine, spec(min_confidence=limit))
            assert min(await confidences(engine, rows)) >= limit
            assert Counter(row.label for row in rows) == {0: 20, 1: 15, 2: 25}
            assert [row.index for row in rows] == list(range(60))
            first = {row.index: row.seed for row in plain}
            kept = [row for row in rows if row.index not in tally.tries]
            assert 0 < len(kept) < 60 and all(row.seed == first[row.index] for row in kept)
            for row in rows:
                assert row.seed == 3 + (tally.tries.get(row.index, 1) - 1) * 60 + row.index
            assert tally.refused["confidence"].total() == sum(tries - 1 for tries in tally.tries.values())

    run(check())


def test_a_band_of_confidence_has_two_ends(zoo: Path) -> None:
    async def check() -> None:
        async with engine_of(zoo) as engine:
            plain, _ = await picked(engine, spec())
            low, high = np.quantile(await confidences(engine, plain), (0.2, 0.8)).tolist()
            rows, _ = await picked(engine, spec(min_confidence=low, max_confidence=high))
            assert {row.seed for row in plain} != {row.seed for row in rows}
            assert all(low <= sure <= high for sure in await confidences(engine, rows))

    run(check())


def test_what_is_picked_does_not_depend_on_how_it_is_cut_up(zoo: Path) -> None:
    async def check() -> None:
        async with engine_of(zoo) as engine:
            wanted = spec(min_confidence=await limit_that_halves(engine), max_similarity=0.9)
            a, of_a = await picked(engine, wanted, chunk=7)
            b, of_b = await picked(engine, wanted)
            assert [(r.seed, r.label, r.picture.tobytes()) for r in a] == [(r.seed, r.label, r.picture.tobytes()) for r in b]
            assert of_a.as_json() == of_b.as_json()

    run(check())


def test_near_copies_are_drawn_again(zoo: Path) -> None:
    async def check() -> None:
        async with engine_of(zoo) as engine:
            _, plain = await picked(engine, spec())
            limit = sorted(close.similarity for close in plain.closest)[0]
            rows, tally = await picked(engine, spec(max_similarity=limit))
            assert len(rows) == 60 and tally.refused["similarity"].total() >= 7
            assert all(close.similarity <= limit for close in tally.closest)
            assert sum(plain.similarity) == sum(tally.similarity) == 60

    run(check())


def test_what_the_filter_never_lets_through_is_told_by_class(zoo: Path) -> None:
    async def check() -> None:
        async with engine_of(zoo) as engine:
            with pytest.raises(UnfillableError, match=r"200 pictures of Trouser in a row.*min_confidence 0\.9999"):
                await picked(engine, spec((0, 2, 0), min_confidence=0.9999))

    run(check())


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def picture(shade: int, size: tuple[int, int] = (16, 16), mode: str = "L") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, shade if mode == "L" else (shade,) * 3).save(out, "PNG")
    return out.getvalue()


def test_a_zip_of_class_folders_is_halved_class_by_class() -> None:
    files = {f"mine/{name}/{i}.png": picture(i * 10) for name in ("t-shirt", "Ankle boot") for i in range(5)}
    found = of_zip(zipped({**files, "__MACOSX/mine/x": b"junk", "mine/.DS_Store": b"junk"}), CLOTHES, SHAPE)
    assert found.train.images.shape == (6, *SHAPE) and found.test.images.shape == (4, *SHAPE)
    assert np.bincount(found.train.labels).tolist() == [3, 0, 3]
    assert sorted(found.test.images[:, 0, 0, 0].tolist()) == [10, 10, 30, 30]
    again = unpack(found.pack())
    assert (again.train.images == found.train.images).all() and again.test.labels.tolist() == found.test.labels.tolist()


def test_folders_train_and_test_are_respected_and_pictures_fitted() -> None:
    files = {
        f"{split}/{name}/{i}.png": picture(50, (64, 40), "RGB")
        for split in ("train", "test")
        for name in CLOTHES
        for i in range(2)
    }
    found = of_zip(zipped(files), CLOTHES, (16, 16, 3))
    assert found.train.images.shape == found.test.images.shape == (6, 16, 16, 3)
    assert set(found.train.images.ravel().tolist()) == {50}


def test_folders_may_be_called_as_the_data_sets_own() -> None:
    files = {f"{folder}/{i}.png": picture(0) for folder in ("a-b", "c") for i in range(2)}
    assert of_zip(zipped(files), ("a/b", "c"), SHAPE).train.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (b"no zip at all", "no zip that can be read"),
        ({}, "0 files"),
        ({"dogs/1.png": picture(0)}, "no folder of a class.*T-shirt"),
        ({"trouser/1.png": b"nothing"}, "no picture of a kind"),
        ({f"trouser/{i}.png": picture(0) for i in range(4)}, "too few pictures to learn from"),
        (
            {f"train/{c}/1.png": picture(0) for c in CLOTHES} | {"test/trouser/1.png": picture(0)},
            "too few pictures to be asked",
        ),
        ({"trouser/1.png": b"\x89PNG\r\n\x1a\n" + bytes(9 * 2**20)}, "bytes, and may have"),
    ],
    ids=["garbage", "empty", "unknown", "damaged", "one class", "one class to ask", "large"],
)
def test_what_is_wrong_with_a_zip_is_told(files: bytes | dict[str, bytes], says: str) -> None:
    with pytest.raises(RealSetError, match=says):
        of_zip(files if isinstance(files, bytes) else zipped(files), CLOTHES, SHAPE)


def test_a_models_real_pictures_come_back_as_they_were(zoo: Path) -> None:
    real = of_model((zoo / "fashion/1/real.parquet").read_bytes())
    noise = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert (real.train.images == noise.permute(0, 2, 3, 1).numpy()).all()
    assert real.test.labels.tolist() == [i % 3 for i in range(60)]
