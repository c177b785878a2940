import pytest
import torch
from prdc import compute_prdc
from torch import Tensor

from training.metrics import neighbours
from training.metrics.prdc import density_coverage, subsample


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 5])
def test_agrees_with_the_authors_package(k: int, capsys: pytest.CaptureFixture[str]) -> None:
    real, generated = normal(300, 8, 0), normal(200, 8, 1) * 0.8 + 0.2
    theirs = compute_prdc(real.numpy(), generated.numpy(), nearest_k=k)
    capsys.readouterr()  # it prints
    ours = density_coverage(real, generated, k=k)
    assert ours.density == pytest.approx(theirs["density"], abs=1e-6)
    assert ours.coverage == pytest.approx(theirs["coverage"], abs=1e-6)
    assert capsys.readouterr().out == ""


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(300, 8, 0), normal(200, 8, 1)
    whole = density_coverage(real, generated)
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", 7 * 300)
    assert len(neighbours.blocks(real, generated)) > 20
    assert density_coverage(real, generated) == whole


def test_identical_gaussians() -> None:
    # the package's own example, 64 dimensions: density 1.06, coverage 0.97 at 10,000; a fifth of that here
    found = density_coverage(normal(2000, 64, 0), normal(2000, 64, 1))
    assert found.density == pytest.approx(1.03, abs=0.05)
    assert found.coverage == pytest.approx(0.97, abs=0.01)


def test_dropped_modes_lower_coverage_and_not_density() -> None:
    centres = torch.eye(10) * 30
    real = normal(2000, 10, 0) + centres[torch.arange(2000) % 10]
    all_modes = normal(2000, 10, 1) + centres[torch.arange(2000) % 10]
    seven = normal(2000, 10, 2) + centres[torch.arange(2000) % 7]
    assert density_coverage(real, all_modes).coverage > 0.95
    dropped = density_coverage(real, seven)
    assert dropped.coverage == pytest.approx(0.7, abs=0.03)
    assert dropped.density > 0.9


def test_junk_lowers_density() -> None:
    real = normal(1000, 10, 0)
    half_junk = torch.cat([normal(500, 10, 1), normal(500, 10, 2) + 100])
    assert density_coverage(real, half_junk).density == pytest.approx(0.5, abs=0.07)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 5"):
        density_coverage(normal(5, 2, 0), normal(9, 2, 1))


def test_kth_nearest_leaves_out_the_picture_itself() -> None:
    x = normal(50, 8, 0)
    expected = torch.cdist(x, x).sort(dim=1).values[:, 3]
    assert torch.allclose(neighbours.kth_nearest(x, 3), expected, atol=1e-3)
    assert torch.allclose(neighbours.kth_nearest(x, 3, rows=torch.tensor([4, 9])), expected[[4, 9]], atol=1e-3)


def test_subsample_is_fixed_and_without_repetition() -> None:
    x = torch.arange(100)[:, None]
    assert torch.equal(subsample(x, 30), subsample(x, 30))
    assert len(set(subsample(x, 30).flatten().tolist())) == 30
    assert sorted(subsample(x, 500).flatten().tolist()) == list(range(100))
