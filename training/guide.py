"""A classifier that guides a generator: discriminators on its features, and a twin that reads the copies.

Two published ideas, for generators that see few pictures, or whose pictures look right and yet teach a classifier little:

- Projected discriminators (Sauer et al. 2021, https://arxiv.org/abs/2111.01007): beside the discriminator of pixels, small
  heads judge what a frozen classifier sees in a picture. It is theirs, trained on ImageNet (`training.pretrained`), or one
  that is trained on the run's own training split, when the run begins.
- Twin classifiers (Gong et al. 2019, https://arxiv.org/abs/1907.02690): one classifier learnt labels from real pictures and
  is frozen, its twin learns them from generated ones as they come. A generator that makes classes too easy to tell apart,
  or signs them with details of its own, is read better by the twin, and is moved until it is not.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from models.blocks import SLOPE, leaky
from models.classifier import Classifier, Design, Recipe, augment, train_classifier
from models.progress import Progress
from training.augment import augment as differ
from training.config import ConfigError, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.duel import Inputs
from training.losses import AdversarialLoss, gradient_penalty
from training.pretrained import Pretrained

# Neither the design nor the seed of the classifiers that measure: what fools this one need not fool those
READER = Recipe(Design("strided", (32, 64, 96, 128)))
READER_SEED = 7
HEAD_WIDTH = 128
SURE_ENOUGH = -6.0  # log-probabilities below it give no gradient: a picture can only be so wrong


class Head(nn.Module):
    """What a reader sees, (B, C, H, W) or (B, C), and class weights (B, classes) → logits (B,): a projection discriminator.

    Where there are no classes, only the picture is judged.
    """

    def __init__(self, shape: torch.Size, classes: int) -> None:
        super().__init__()
        width, side = shape[1], shape[2] if len(shape) == 4 else 1
        layers: list[nn.Module] = []
        while side > 3:
            layers += [nn.Conv2d(width, HEAD_WIDTH, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
            width, side = HEAD_WIDTH, side // 2
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.features = nn.Linear(width * side * side, HEAD_WIDTH)
        self.logit = nn.Linear(HEAD_WIDTH, 1)
        self.embed = nn.Linear(classes, HEAD_WIDTH, bias=False) if classes else None

    def forward(self, seen: Tensor, *y: Tensor) -> Tensor:
        features = leaky(self.features(self.trunk(seen)))
        logits: Tensor = self.logit(features).squeeze(1)
        return logits if self.embed is None else logits + (features * self.embed(*y)).sum(dim=1)


@dataclass(frozen=True)
class Judgement:
    """What the guide adds to the generator's loss, and scalars to log."""

    loss: Tensor
    stats: dict[str, Tensor]


class Guide:
    """The reader, its heads and its twin. Everything in float32.

    `learn` makes the reader when a run begins; a resumed run finds it in the state. Raises `ConfigError` where the reader
    can't be what the config and the pictures ask for.
    """

    def __init__(self, config: TrainConfig, loss: AdversarialLoss, side: int, channels: int, classes: int, hardware: Hardware):
        self._config, self._loss, self._hardware = config.guide, loss, hardware
        self._mirror, self._penalty_every = config.data.mirror, config.loss.penalty_every
        self._reader, self._twin = self._make(side, channels, classes)
        hardware.place(self._reader).eval().requires_grad_(False)
        with torch.no_grad():
            seen = self._reader.maps(torch.zeros(1, channels, side, side, device=hardware.device))
        self._heads = hardware.place(nn.ModuleList(Head(s.shape, classes) for s in seen))
        rate = config.optimizer.learning_rate
        self._opt_heads = Adam(self._heads.parameters(), lr=rate, betas=config.optimizer.betas, fused=True)
        self.networks: dict[str, nn.Module] = {"reader": self._reader, "heads": self._heads}
        self.optimizers: dict[str, Optimizer] = {"heads": self._opt_heads}
        if self._twin is not None:
            self._opt_twin = Adam(hardware.place(self._twin).parameters(), lr=rate, betas=(0.9, 0.99), fused=True)
            self.networks["twin"], self.optimizers["twin"] = self._twin, self._opt_twin

    def _make(self, side: int, channels: int, classes: int) -> tuple[Classifier | Pretrained, Classifier | None]:
        """The reader, and a twin if it has one."""
        if self._config.reader == "imagenet":
            if self._config.twins:
                raise ConfigError("guide.twins: ImageNet's classifier can't read these labels. Set guide.reader = \"own\"")
            if channels not in {1, 3}:
                raise ConfigError(
                    f'guide.reader: ImageNet\'s classifier sees grey or colour, not {channels} channels. Set "own"'
                )
            return Pretrained(side * self._config.enlarge), None
        if not classes:
            raise ConfigError('guide: without labels no classifier can be taught. Set guide.reader = "imagenet"')
        own, twin = (Classifier(READER.design, side=side, channels=channels, classes=classes) for _ in range(2))
        return own, twin

    def learn(self, data: LabelledImages, progress: Progress) -> None:
        """Makes the reader: trains it on the training split, where its twin begins as its copy, or loads ImageNet's."""
        if isinstance(self._reader, Pretrained):
            self._reader.learn(data)
            return
        recipe = replace(READER, images=self._config.images)
        classes = len(data.label_names)
        trained = train_classifier(
            data.images, data.labels, classes, recipe=recipe, seed=READER_SEED, mirror=self._mirror,
            progress=lambda _, done: progress("training the guide's classifier", done),
        )  # fmt: skip
        for net in filter(None, (self._reader, self._twin)):
            net.load_state_dict(trained.state_dict())

    def judge(self, real: Tensor, fake: Tensor, labels: Tensor, y: Inputs, *, penalise: bool) -> Judgement:
        """Updates heads and twin on a batch, and judges `fake` (B, C, H, W), whose gradients lead to the generator.

        `y`: class weights (B, classes), where there are classes.
        """
        nothing = Judgement(torch.zeros((), device=fake.device), {})
        by_heads = self._by_heads(real, fake, y, penalise=penalise) if self._config.features else nothing
        by_twins = self._by_twins(self._twin, fake, labels) if self._twin is not None and self._config.twins else nothing
        loss = self._config.features * by_heads.loss + self._config.twins * by_twins.loss
        return Judgement(loss, by_heads.stats | by_twins.stats)

    def _by_heads(self, real: Tensor, fake: Tensor, y: Inputs, *, penalise: bool) -> Judgement:
        """One step of the heads; then the mean of their generator losses."""
        penalise = penalise and self._config.penalty > 0
        with torch.no_grad():
            seen_real = [s.requires_grad_(penalise) for s in self._reader.maps(differ(real.detach(), self._config.augment))]
        seen_fake = self._reader.maps(differ(fake, self._config.augment))
        cut_fake = [s.detach().requires_grad_(penalise) for s in seen_fake]  # the heads' own step stops here
        of_real = [head(s, *y) for head, s in zip(self._heads, seen_real, strict=True)]
        of_fake = [head(s, *y) for head, s in zip(self._heads, cut_fake, strict=True)]
        loss = torch.stack([self._loss.discriminator(r, f) for r, f in zip(of_real, of_fake, strict=True)]).sum()
        stats = {"loss/heads": loss.detach() / len(of_real)}
        if penalise:
            # with respect to what the reader sees, and not to the pixels: it is what the heads are functions of
            both = zip([*of_real, *of_fake], [*seen_real, *cut_fake], strict=True)
            penalty = torch.stack([gradient_penalty(logits, seen) for logits, seen in both]).sum()
            loss = loss + self._config.penalty / 2 * self._penalty_every * penalty
            stats["penalty/heads"] = penalty.detach()
        self._opt_heads.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._hardware.average_gradients(self._heads)
        self._opt_heads.step()

        self._heads.requires_grad_(False)
        answers = [head(f, *y) for head, f in zip(self._heads, seen_fake, strict=True)]
        self._heads.requires_grad_(True)
        losses = [self._loss.generator(r.detach(), answer) for r, answer in zip(of_real, answers, strict=True)]
        judged = torch.stack(losses).mean()
        return Judgement(judged, {**stats, "loss/g_heads": judged.detach()})

    def _by_twins(self, twin: Classifier, fake: Tensor, labels: Tensor) -> Judgement:
        """One step of the twin on the generated pictures; then how much better it reads their labels than the reader does."""
        twin.train()
        taught = F.cross_entropy(twin(augment(fake.detach(), shift_px=READER.shift_px, mirror=self._mirror)), labels)
        self._opt_twin.zero_grad(set_to_none=True)
        torch.autograd.backward(taught)
        self._hardware.average_gradients(twin)
        self._opt_twin.step()
        # batch statistics are of a process's own pictures: the state holds those of one process
        self._hardware.average([b for b in twin.buffers() if b.is_floating_point()])
        twin.eval().requires_grad_(False)
        by_twin, by_reader = (log_probability(net(fake), labels) for net in (twin, self._reader))
        twin.requires_grad_(True)
        stats = {"loss/twin": taught.detach(), "labels/twin": by_twin.detach(), "labels/reader": by_reader.detach()}
        return Judgement(by_twin - by_reader, stats)


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean log-probability of the labels (B,) in logits (B, classes), each no lower than `SURE_ENOUGH`."""
    return F.log_softmax(logits, dim=1).gather(1, labels[:, None]).clamp(min=SURE_ENOUGH).mean()
