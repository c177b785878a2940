"""The guide of label-conditional generators: what it learns, where its gradients go; and runs that start from another's end."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny import write_config, write_idx
from torch.nn import functional as F

from models.families import family_named
from models.progress import silent
from training.__main__ import main
from training.config import TrainConfig, load_config
from training.data import load_labelled
from training.device import Hardware
from training.guide import SURE_ENOUGH, Guide, log_probability
from training.loop import hparams_for
from training.losses import LOSSES
from training.recipes.adversarial import AdversarialRecipe
from training.run_dir import RunDir


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("guide")
    return load_config(write_config(folder / "tiny.toml", write_idx(folder / "squares"), folder / "runs"))


@pytest.fixture(scope="module")
def guide(config: TrainConfig) -> Guide:
    torch.manual_seed(0)
    guide = Guide(config, LOSSES["relativistic"], 8, 1, 3, Hardware(config.device))
    guide.learn(load_labelled(config.data, "train"), silent)
    return guide


def batch(config: TrainConfig, shift: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    data = load_labelled(config.data, "train")
    x = data.images[:32].float() / 127.5 - 1
    labels = (data.labels[:32] + shift) % 3
    return x, labels, F.one_hot(labels, 3).float()


def test_the_reader_reads_real_labels_and_its_twin_starts_there(config: TrainConfig, guide: Guide) -> None:
    x, labels, _ = batch(config)
    reader, twin = guide.networks["reader"], guide.networks["twin"]
    assert (reader(x).argmax(1) == labels).float().mean() > 0.9
    assert all(torch.equal(a, b) for a, b in zip(reader.state_dict().values(), twin.state_dict().values(), strict=True))


def test_the_twin_learns_from_generated_pictures_and_the_reader_never_changes(config: TrainConfig) -> None:
    """Pictures whose labels are all shifted by one: the twin comes to believe them, and the generator is told so."""
    torch.manual_seed(0)
    guide = Guide(config.model_copy(update={"guide": config.guide.model_copy(update={"features": 0.0})}),
                  LOSSES["relativistic"], 8, 1, 3, Hardware(config.device))  # fmt: skip
    guide.learn(load_labelled(config.data, "train"), silent)
    before = {k: v.clone() for k, v in guide.networks["reader"].state_dict().items()}
    x, labels, y = batch(config, shift=1)
    fake = x.clone().requires_grad_()
    first = guide.judge(x, fake, labels, (y,), penalise=False)
    for _ in range(60):
        last = guide.judge(x, fake, labels, (y,), penalise=False)
    assert last.stats["labels/twin"] > first.stats["labels/twin"] + 1
    assert last.loss > first.loss
    (gradient,) = torch.autograd.grad(last.loss, fake)
    assert gradient.abs().sum() > 0
    assert all(torch.equal(before[k], v) for k, v in guide.networks["reader"].state_dict().items())
    assert all(p.grad is None for p in guide.networks["reader"].parameters())


def test_heads_come_to_tell_generated_pictures_from_real_ones(config: TrainConfig, guide: Guide) -> None:
    x, labels, y = batch(config)
    fake = torch.zeros_like(x).requires_grad_()
    first = guide.judge(x, fake, labels, (y,), penalise=True)
    assert first.stats["penalty/heads"] > 0
    for _ in range(40):
        last = guide.judge(x, fake, labels, (y,), penalise=False)
    assert last.stats["loss/heads"] < 0.5 * first.stats["loss/heads"]
    assert last.stats["loss/g_heads"] > first.stats["loss/g_heads"]
    assert all(p.grad is not None for p in guide.networks["heads"].parameters() if p.ndim > 1)


def test_a_log_probability_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [30.0, 0.0]])
    value = log_probability(logits, torch.tensor([1, 1]))
    assert value == pytest.approx((-0.6931472 + SURE_ENOUGH) / 2)


def test_without_labels_there_is_no_reader_of_ones_own(config: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(config.runs.parent / "tiny.toml")
    overrides = ["name=plain", "family=dcgan", "hparams={}"]
    assert main(["run", path, *overrides]) == 2
    assert "guide" in capsys.readouterr().err
    assert main(["run", path, *overrides, "guide={}", "total_images=16"]) == 0


def test_a_run_starts_from_the_networks_of_another(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(config.runs.parent / "tiny.toml")
    assert main(["run", path, "name=first", "total_images=320", "guide={}"]) == 0
    first = config.runs / "first"
    assert main(["run", path, "name=second", f"start={first}", "total_images=16", "optimizer.learning_rate=1e-12"]) == 0
    old, new = (safetensors.torch.load_file(RunDir(config.runs / name).state_file) for name in ("first", "second"))
    for name in ("generator", "discriminator"):
        for key in (k for k in old if k.startswith(f"{name}/")):
            assert torch.allclose(old[key], new[key], atol=1e-6), key
    second = RunDir(config.runs / "second")
    origin = second.start()
    assert second.about()["images_seen"] == "16" and origin is not None
    assert (origin["name"], origin["images_seen"], origin["config"]["total_images"]) == ("first", 320, 320)
    assert main(["run", path, "name=third", f"start={tmp_path / 'nowhere'}"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["run", path, "name=fourth", f"start={first}", "hparams.z_dim=9"]) == 2
    assert "does not fit" in capsys.readouterr().err


def test_without_a_guide_nothing_of_it_is_made(config: TrainConfig) -> None:
    plain = config.model_copy(update={"guide": type(config.guide)()})
    data = load_labelled(config.data, "train")
    recipe = AdversarialRecipe(plain, family_named("conditional"), hparams_for(plain, data), Hardware(config.device))
    assert recipe.guide is None and set(recipe.networks) == {"generator", "discriminator", "ema"}
