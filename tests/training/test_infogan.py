"""InfoGAN: what its recogniser is taught, and the whole way from a run to named codes."""

import json
import math
from pathlib import Path

import pytest
import torch
from tiny import write_config, write_idx

from models.checkpoint import load_checkpoint
from training.__main__ import main
from training.metrics.codes import matched
from training.recipes.infogan import mutual_information


def test_views_that_agree_share_all_there_is_to_know() -> None:
    certain = torch.eye(4)[torch.arange(40) % 4]
    assert mutual_information(certain, certain).item() == pytest.approx(math.log(4), abs=1e-3)


def test_views_that_have_nothing_in_common_share_nothing() -> None:
    one, other = torch.eye(2)[torch.tensor([0, 0, 1, 1])], torch.eye(2)[torch.tensor([0, 1, 0, 1])]
    assert mutual_information(one, other).item() == pytest.approx(0, abs=1e-4)
    blank = torch.full((8, 4), 0.25)
    assert mutual_information(blank, blank).item() == pytest.approx(0, abs=1e-6)


def test_shared_information_by_hand() -> None:
    """Joint probabilities .4 .1 / .1 .4, each view even: 2 · .4 · ln(.4 / .25) + 2 · .1 · ln(.1 / .25)."""
    one = torch.eye(2)[torch.tensor([0] * 5 + [1] * 5)]
    other = torch.eye(2)[torch.tensor([0] * 4 + [1] + [1] * 4 + [0])]
    assert mutual_information(one, other).item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-5)


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
        + '[info]\nnames = ["place", "tone"]\nclustering = 1.0\n[device]\naccelerator = "cpu"\nthreads = 1\n'
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
