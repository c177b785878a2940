"""InfoGAN: what its recogniser is taught, and the whole way from a run to named codes."""

import json
from pathlib import Path

import pytest
import torch
from tiny import write_config, write_idx

from models.checkpoint import load_checkpoint
from models.progress import silent
from training.__main__ import main
from training.augment import affine
from training.data import DataConfig, DataError, LabelledImages, load
from training.kinds import kinds_of, upright
from training.metrics.codes import matched

SLANTED = torch.tensor([[[0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]]).float()


def test_a_slanted_stroke_is_put_upright_in_the_middle() -> None:
    straight = upright(SLANTED[None])[0, 0]
    assert straight[:, 2].tolist() == pytest.approx([0, 1, 1, 1, 0], abs=1e-3) and straight.sum() == pytest.approx(3, abs=1e-2)
    assert torch.equal(upright(torch.zeros(1, 1, 5, 5)), torch.zeros(1, 1, 5, 5))


def test_kinds_are_found_without_labels_wherever_they_are_and_however_they_slant() -> None:
    """Rings, crosses and bars, each moved and slanted at random."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")
    radius = (x * x + y * y).sqrt()
    shapes = torch.stack([(radius - 0.5).abs() < 0.12, (x.abs() < 0.1) & (radius < 0.6), (y.abs() < 0.1) | (x.abs() < 0.1)])
    told = torch.arange(300) % 3
    images = affine(shapes[told][:, None].float()).clamp(0, 1).mul(255).to(torch.uint8)
    kinds = kinds_of(images, 3, silent)
    assert matched(kinds, told, 3, 3).share > 0.98
    assert torch.equal(kinds, kinds_of(images, 3, silent))


def test_digits_are_told_apart_without_labels() -> None:
    config = DataConfig(name="mnist", format="idx", path="mnist", source="", licence="")
    try:
        data = load(config, "train")
    except DataError as error:
        pytest.skip(f"MNIST isn't here: {error}")
    assert isinstance(data, LabelledImages)
    assert matched(kinds_of(data.images[:5000], 10, silent), data.labels[:5000], 10, 10).share > 0.9


def test_categories_are_matched_with_labels_one_to_one() -> None:
    categories = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    labels = torch.tensor([2, 2, 0, 0, 0, 2, 1, 1])
    match = matched(categories, labels, 3, 3)
    assert match.labels.tolist() == [2, 0, 1] and match.share == 6 / 8
    assert matched(categories, labels.clamp(max=1), 4, 2).labels.tolist().count(-1) == 2  # more categories than labels


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("infogan")
    config = write_config(folder / "tiny.toml", write_idx(folder / "squares"), folder)
    text = config.read_text().replace('"conditional"', '"infogan"').split("[guide]")[0]
    config.write_text(
        text.replace("z_dim = 8", "z_dim = 8\ncategories = 3\ncontinuous = 1")
        + '[info]\nnames = ["place", "tone"]\nclustered = 32\n[device]\naccelerator = "cpu"\nthreads = 1\n'
    )
    patch = pytest.MonkeyPatch()
    patch.setattr("training.__main__.CACHE", folder / "cache")
    assert main(["run", str(config), "total_images=128"]) == 0
    assert main(["publish", str(folder / "tiny"), "--zoo", str(folder / "zoo"), "--quick"]) == 0
    patch.undo()
    return folder / "zoo" / "tiny" / "1"


def test_a_published_infogan_has_codes_by_name(entry: Path) -> None:
    manifest = load_checkpoint(entry).manifest
    place, tone = manifest.codes
    assert (place.name, place.kind, sorted(place.values)) == ("place", "category", ["bottom", "middle", "top"])
    assert (tone.name, tone.kind, tone.values) == ("tone", "continuous", ())
    assert manifest.labels == () and set(manifest.extras) == {"discriminator", "recogniser"}
    assert 0 <= manifest.metrics["code_match"].value <= 1 and 0 <= manifest.metrics["code_read"].value <= 1
    card = (entry / "CARD.md").read_text()
    assert "Codes: `place` (" in card and "`tone` (from -1 to 1)" in card


def test_codes_that_the_hyper_parameters_do_not_have_are_refused(entry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = entry / "manifest.json"
    raw = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(raw | {"codes": raw["codes"][:1]}))
    try:
        with pytest.raises(Exception, match="number of codes is given as 1"):
            load_checkpoint(entry)
    finally:
        manifest.write_text(json.dumps(raw))
    config = entry.parents[2] / "tiny.toml"
    assert main(["run", str(config), "name=other", 'info.names=["place"]']) == 2
    assert "this generator has 2 codes, and 1 have names" in capsys.readouterr().err
