"""The update that families and laboratory share, under every technique."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny import write_config, write_idx
from torch import nn

from models.families import family_named
from training.config import ConfigError, LossConfig, OptimizerConfig, Section, StabiliserConfig, load_config
from training.data import load
from training.device import Hardware
from training.duel import Duel
from training.loop import hparams_for, train
from training.publish import average_of
from training.recipes.adversarial import AdversarialRecipe
from training.recipes.paired import PairedRecipe
from training.run_dir import RunDir

MLP = ["family=mlp", "guide={}", "augment=[]", "hparams={hidden=[8], d_hidden=[8]}", "hparams.z_dim=4"]
SWITCHES = {
    "wasserstein-clip": ['loss={adversarial="wasserstein", clip=0.01, r1=0, r2=0}', "optimizer.d_steps=2"],
    "wasserstein-gp": ['loss={adversarial="wasserstein", gradient_penalty=10, r1=0, r2=0, penalty_every=1}'],
    "smoothing": ['loss={adversarial="non-saturating", label_smoothing=0.1}'],
    "discrimination": ["stabilisers.minibatch=discrimination"],
    "deviation": ["stabilisers.minibatch=deviation"],
    "virtual": ["stabilisers.virtual_batch=8"],
    "matching": ["stabilisers.feature_matching=1.0", "loss.adversarial_weight=0"],
    "history": ["stabilisers.historical_averaging=1.0"],
    "unrolled": ["stabilisers.unrolled_steps=2", "loss.spectral_norm=true"],
    "pack": ["stabilisers.pack=2"],
    "sgd": ["optimizer.algorithm=sgd", "optimizer.momentum=0.5"],
    "rmsprop": ["optimizer.algorithm=rmsprop"],
}


class Config(Section):
    loss: LossConfig = LossConfig(adversarial="hinge", r1=0, r2=0)
    stabilisers: StabiliserConfig = StabiliserConfig()
    optimizer: OptimizerConfig = OptimizerConfig(algorithm="sgd", learning_rate=0.1)


class Here:
    def autocast(self) -> object:
        return torch.autocast("cpu", enabled=False)

    def average_gradients(self, network: nn.Module) -> None:
        pass


def scalar_duel(config: Config) -> Duel:
    """G(z) = g·z and D(x) = d·x + b, with g = d = 1, b = 0."""

    class Logit(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).squeeze(1)

    generator, discriminator = nn.Linear(1, 1, bias=False), Logit(1, 1)
    for network in (generator, discriminator):
        nn.init.ones_(network.weight)
    nn.init.zeros_(discriminator.bias)
    return Duel(generator, discriminator, config, Here())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("data") / "squares")


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.state_file)


def test_one_step_is_that_worked_by_hand() -> None:
    duel = scalar_duel(Config(loss=LossConfig(adversarial="wasserstein", clip=1.05, r1=0, r2=0)))
    duel.step(torch.tensor([[3.0]]), torch.tensor([[2.0]]))
    # D: loss d·2 - d·3, so d goes to 1 + 0.1·1 = 1.1 and is clipped. G: loss -1.05·g·2, so g goes to 1 + 0.1·2.1
    assert duel.discriminator.weight.item() == pytest.approx(1.05)
    assert duel.generator.weight.item() == pytest.approx(1.21)


def test_feature_matching_alone_moves_means_together() -> None:
    config = Config(
        loss=LossConfig(adversarial="hinge", r1=0, r2=0, adversarial_weight=0),
        stabilisers=StabiliserConfig(feature_matching=1),
    )
    duel = scalar_duel(config)
    stats = duel.step(torch.tensor([[3.0]]), torch.tensor([[2.0]]))  # the features of this D are the points themselves
    assert stats["loss/features"].item() == pytest.approx(1.0)
    assert duel.generator.weight.item() == pytest.approx(1 + 0.1 * 2 * 1 * 2)  # -d/dg (2g - 3)²


def test_an_unrolled_generator_looks_ahead() -> None:
    moved = []
    for steps in (0, 1):
        loss = LossConfig(adversarial="wasserstein", clip=9, r1=0, r2=0)
        duel = scalar_duel(Config(loss=loss, stabilisers=StabiliserConfig(unrolled_steps=max(steps, 0), unrolled_rate=0.5)))
        duel.step(torch.tensor([[3.0]]), torch.tensor([[2.0]]))
        moved.append(duel.generator.weight.item() - 1)
    assert moved[0] == pytest.approx(0.1 * 1.1 * 2)
    # ahead, d is 1.1 + 0.5·(3 - 2g); -d/dg of -(1.1 + 1.5 - g)·2g at g = 1 is 2·(2.6 - 2)
    assert moved[1] == pytest.approx(0.1 * 2 * (2.6 - 2))


@pytest.mark.parametrize("name", SWITCHES)
def test_every_technique_trains_and_resumes_exactly(name: str, data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.toml", data, tmp_path)
    # everything is saved after each step; half of the run, then the other half by another process's recipe
    given = [*MLP, "snapshots.save_every_s=0", "optimizer.decay_from=0.99", "optimizer.final=1.0", "optimizer.warmup_images=0"]
    straight = train(load_config(config, [*given, *SWITCHES[name], "name=straight", "total_images=96"]), lambda _: None)
    halves = load_config(config, [*given, *SWITCHES[name], "name=halves", "total_images=48"])
    train(halves, lambda _: None)
    began = weights(RunDir(tmp_path / "halves"))
    train(halves.model_copy(update={"total_images": 96}), lambda _: None, amend=True)
    expected, got = weights(straight), weights(RunDir(tmp_path / "halves"))
    assert expected.keys() == got.keys()
    assert [k for k in expected if not torch.equal(expected[k], got[k])] == []
    assert all(t.isfinite().all() for t in got.values() if t.is_floating_point())
    assert any(not torch.equal(began[k], got[k]) for k in got if k.startswith("generator/"))
    if "wasserstein-clip" in name:
        assert max(t.abs().max() for k, t in got.items() if k.startswith("discriminator/")) <= 0.01


def test_the_discriminators_steps_share_a_batch(data: Path, tmp_path: Path) -> None:
    given = [*MLP, "optimizer.d_steps=4"]
    config = load_config(write_config(tmp_path / "tiny.toml", data, tmp_path), given)
    loaded = load(config.data, "train")
    recipe = AdversarialRecipe(config, family_named("mlp"), hparams_for(config, loaded), Hardware(config.device))
    seen = []
    recipe.discriminator.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    recipe.step(loaded.batch(torch.arange(16), mirror=False), 0, 16)
    assert seen == [4, 4] * 4 + [4]  # real and generated four times, and once for the generator


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["optimizer.d_steps=3"], "can't be cut into 3"),
        (["stabilisers.pack=5"], "packs of 5"),
        (["loss.adversarial_weight=0"], "generator can't learn"),
        (["stabilisers.virtual_batch=1000"], "only 200 pictures"),
    ],
)
def test_what_does_not_fit_is_refused(overrides: list[str], told: str, data: Path, tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "tiny.toml", data, tmp_path), [*MLP, *overrides])
    with pytest.raises(ConfigError, match=told):
        train(config, lambda _: None)


def test_families_that_are_trained_otherwise_refuse_what_they_cannot_use(data: Path, tmp_path: Path) -> None:
    config = load_config(
        write_config(tmp_path / "tiny.toml", data, tmp_path),
        ["family=pix2pix", "stabilisers.pack=2", "optimizer.d_steps=2", "stabilisers.unrolled_rate=0.1"],
    )
    with pytest.raises(ConfigError, match="'pix2pix' can't use pack, d_steps"):
        PairedRecipe(config, family_named("pix2pix"), None, Hardware(config.device))


def test_a_changed_discriminator_is_not_published(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.toml", data, tmp_path)
    for name, pack, parts in (("plain", 1, {"generator", "discriminator"}), ("packed", 2, {"generator"})):
        run = train(load_config(config, [*MLP, f"name={name}", f"stabilisers.pack={pack}", "total_images=16"]), lambda _: None)
        assert average_of(run, tmp_path / "zoo").weights.keys() == parts
