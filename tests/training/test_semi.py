"""Classes from few labels: the discriminator's word by hand, its teacher, and a run from config to card."""

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny import write_idx
from torch import Tensor

from models.checkpoint import load_checkpoint
from models.families.semi import Discriminator, SemiHParams
from training.__main__ import main
from training.config import TrainConfig, load_config
from training.data import UNKNOWN, DataConfig, load_labelled
from training.device import Hardware
from training.loop import train
from training.losses import LOSSES
from training.run_dir import RunDir, weights_of
from training.teacher import Teacher, aligned

NAMES = ("top", "middle", "bottom")
CONFIG = """
name = "few"
family = "semi"
total_images = 1600
batch = 32
augment = ["noise"]
runs = "{runs}"
[data]
name = "squares"
format = "idx"
path = "{data}"
labels = ["top", "middle", "bottom"]
labelled_per_class = 2
source = "drawn by this test"
licence = "CC0-1.0"
[hparams]
z_dim = 8
width = 16
d_width = 8
feature_dim = 16
[loss]
adversarial = "non-saturating"
adversarial_weight = 0
r1 = 0
r2 = 0
[stabilisers]
feature_matching = 1.0
[teacher]
labelled = 6
confidence = 0.8
augment = ["noise"]
[optimizer]
learning_rate = 3e-3
betas = [0.5, 0.99]
[snapshots]
every_images = 100000
log_every_steps = 10
sheet_columns = 4
sheet_rows = 2
[device]
accelerator = "cpu"
precision = "float32"
threads = 1
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("semi")
    path = folder / "few.toml"
    path.write_text(CONFIG.format(runs=folder, data=write_idx(folder / "squares")))
    return path


@pytest.fixture(scope="module")
def run(path: Path) -> RunDir:
    """The whole run."""
    return train(load_config(path), lambda _: None)


def discriminator(logits: list[float]) -> Discriminator:
    """One that finds these class logits in every picture."""
    network = Discriminator(SemiHParams(label_names=NAMES, resolution=8, d_width=8, feature_dim=8))
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.tensor(logits))
    return network


def test_the_discriminators_word_is_z_over_z_plus_one() -> None:
    pictures = torch.zeros(2, 1, 8, 8)
    real = discriminator([math.log(1), math.log(2), math.log(3)])(pictures)  # Z = 6
    fake = discriminator([math.log(0.1), math.log(0.1), math.log(0.05)])(pictures)  # Z = ¼
    assert real.sigmoid().tolist() == pytest.approx([6 / 7] * 2)
    assert fake.sigmoid().tolist() == pytest.approx([1 / 5] * 2)
    pair = LOSSES["non-saturating"]
    assert pair.discriminator(real, fake).item() == pytest.approx(-math.log(6 / 7) - math.log(4 / 5))
    assert pair.generator(real, fake).item() == pytest.approx(-math.log(1 / 5))


def test_probabilities_are_aligned_to_classes_of_equal_frequency() -> None:
    by_hand = aligned(torch.tensor([[0.6, 0.4], [0.75, 0.25]]), torch.tensor([0.75, 0.25]))  # .8 : 1.6 and 1 : 1
    assert torch.allclose(by_hand, torch.tensor([[1 / 3, 2 / 3], [0.5, 0.5]]))


def taught(path: Path, *overrides: str) -> tuple[Teacher, Discriminator, Tensor]:
    """A teacher that reads "middle" in everything with probability e²/(e² + 2), its student, and pictures."""
    config: TrainConfig = load_config(path, [*overrides, "teacher.augment=[]"])
    data = load_labelled(config.data, "train")
    student = discriminator([0.0, 2.0, 0.0])
    hp = SemiHParams(label_names=NAMES, resolution=8, d_width=8, feature_dim=8)
    teacher = Teacher(config, student, hp, Hardware(config.device))
    teacher.begin(data)
    return teacher, student, data.batch(torch.arange(8), mirror=False)[0]


def test_a_lesson_by_hand(path: Path) -> None:
    """Supervised and confident unsupervised cross-entropy of logits (0, 2, 0), whichever pictures are drawn."""
    sure, unsure = -math.log(math.exp(2) / (math.exp(2) + 2)), -math.log(1 / (math.exp(2) + 2))
    for confidence, agreement in ((0.7, sure), (0.8, 0.0)):  # it is sure by 0.787, and a little less after alignment
        teacher, _, real = taught(path, f"teacher.confidence={confidence}", "teacher.agreement=0.5", "teacher.labelled=300")
        loss, stats = teacher.lesson(real)
        middles = (stats["loss/labels"].item() - unsure) / (sure - unsure)  # a third of the labelled pictures, about
        assert middles == pytest.approx(1 / 3, abs=0.1)
        assert stats["loss/agreement"].item() == pytest.approx(agreement, rel=1e-5)
        assert loss.item() == pytest.approx(stats["loss/labels"].item() + 0.5 * agreement, rel=1e-5)


def test_what_swallows_the_others_is_believed_less(path: Path) -> None:
    teacher, _, real = taught(path, "teacher.confidence=0.7")
    stats = [teacher.lesson(real)[1]["teacher/sure"].item() for _ in range(60)]
    assert (stats[0], stats[-1]) == (1.0, 0.0)


def test_the_teacher_follows_and_is_not_taught(path: Path) -> None:
    teacher, student, real = taught(path)
    teacher.lesson(real)[0].backward()
    assert student.head.bias.grad is not None and student.head.bias.grad.abs().sum() > 0
    network = teacher.networks["teacher"]
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    with torch.no_grad():
        student.head.bias.add_(1)
    before = network.head.bias.clone()
    teacher.follow(32, 10_000)
    assert torch.all((before < network.head.bias) & (network.head.bias < student.head.bias))


def test_a_run_sees_only_the_labels_that_it_may(path: Path) -> None:
    config = load_config(path).data
    seen, held_out = (load_labelled(config, split) for split in ("train", "test"))
    assert torch.bincount(seen.labels + 1).tolist() == [194, 2, 2, 2]
    assert (held_out.labels != UNKNOWN).all() and (load_labelled(config.with_all_labels, "train").labels != UNKNOWN).all()
    assert torch.equal(seen.labels, load_labelled(config, "train").labels)
    other = config.model_copy(update={"label_seed": 1})
    assert not torch.equal(seen.labels, load_labelled(other, "train").labels)


def test_stopped_and_begun_again_it_ends_with_the_same_bits(run: RunDir, path: Path, tmp_path: Path) -> None:
    config = load_config(path, [f"runs={tmp_path}", "snapshots.save_every_s=0"])

    def stop(progress: object) -> None:
        if progress.images_seen == 640:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, stop)
    again = train(config, lambda _: None)
    expected, got = (safetensors.torch.load_file(r.state_file) for r in (run, again))
    assert expected.keys() == got.keys()
    assert [k for k in expected if not torch.equal(expected[k], got[k])] == []


def test_its_average_is_published_and_its_errors_are_measured(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.__main__.CACHE", tmp_path / "cache")
    assert main(["publish", str(run.path), "--zoo", str(tmp_path / "zoo"), "--quick"]) == 0
    checkpoint = load_checkpoint(tmp_path / "zoo" / "few" / "1")
    teacher, classifier = weights_of(run, "teacher"), checkpoint.extras["classifier"].state_dict()
    assert teacher.keys() == classifier.keys() and all(teacher[k].equal(classifier[k]) for k in teacher)
    assert checkpoint.manifest.labels == () and checkpoint.hparams.label_names == NAMES  # type: ignore[attr-defined]
    metric = checkpoint.manifest.metrics["errors_per_10000"]
    assert metric.n == 200 and metric.value < 2_000  # six labels; by chance it would be 6,667
    assert "2 labels of each class" in metric.protocol
    assert "`errors_per_10000`" in (tmp_path / "zoo" / "few" / "1" / "CARD.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["family=conditional", "hparams={}"], "training label"),
        (["optimizer.d_steps=2"], "d_steps"),
        (["stabilisers.pack=2"], "pack"),
        (["data.labelled_per_class=100"], "are to keep their labels"),
    ],
)
def test_what_does_not_go_together_is_told(
    path: Path, overrides: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(path), "name=refused", *overrides]) == 2
    assert told in capsys.readouterr().err


def test_data_without_labels_keep_none(path: Path) -> None:
    own = load_config(path).data.model_dump() | {"format": "photos", "labels": None, "resolution": 8}
    with pytest.raises(ValueError, match="labelled_per_class"):
        DataConfig.model_validate(own)


def test_without_a_number_of_labels_there_is_nothing_to_learn(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text().replace("labelled_per_class = 2\n", "")
    path.with_name("none.toml").write_text(text)
    assert main(["run", str(path.with_name("none.toml")), "name=none"]) == 2
    assert "data.labelled_per_class" in capsys.readouterr().err
