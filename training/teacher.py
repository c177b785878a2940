"""A teacher for a discriminator that tells classes apart: it labels the pictures that have no label.

The teacher is the discriminator's moving average (mean teacher, Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780). It
reads each picture as it is, moved by a pixel; where it is sure, the discriminator has to read the same in the picture much
changed (FixMatch, Sohn et al. 2020, https://arxiv.org/abs/2001.07685). Its probabilities are divided by how often it has seen
each class lately, so that no class swallows another (distribution alignment, Berthelot et al. 2020,
https://arxiv.org/abs/1911.09785): the classes are taken to be equally frequent.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.classifier import augment as moved
from models.families.semi import Discriminator
from models.family import ClassifyingHParams
from models.pixels import from_uint8
from training.augment import augment
from training.config import ConfigError, TrainConfig
from training.data import UNKNOWN, LabelledImages
from training.device import Hardware
from training.ema import Ema

MOVED_PX = 1
FREQUENCY_MEMORY = 0.98  # kept of the classes' frequencies at each step


class Known(nn.Module):
    """What a resumed run must not forget: the labelled pictures, and how often each class was seen."""

    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor  # int64 (N,)
    frequency: Tensor  # (K,)

    def __init__(self, count: int, hp: ClassifyingHParams) -> None:
        super().__init__()
        classes = len(hp.label_names)
        self.register_buffer("images", torch.zeros(count, hp.channels, hp.resolution, hp.resolution, dtype=torch.uint8))
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("frequency", torch.full((classes,), 1 / classes))


class Teacher:
    """Teaches `student`. Its `network` is what is published."""

    def __init__(self, config: TrainConfig, student: Discriminator, hparams: ClassifyingHParams, hardware: Hardware) -> None:
        per_class = config.data.labelled_per_class
        if per_class is None:
            raise ConfigError(f"data.labelled_per_class: family '{config.family}' learns from so many labels of each class")
        self._config, self._student, self._hardware = config.teacher, student, hardware
        self._ema = Ema(student, config.ema.half_life_images, config.ema.ramp)
        self._known = hardware.place(Known(per_class * len(hparams.label_names), hparams))
        self.networks: dict[str, nn.Module] = {"teacher": self._ema.network, "known": self._known}

    def begin(self, data: LabelledImages) -> None:
        """Takes the pictures that have labels out of the data."""
        known = data.labels != UNKNOWN
        self._known.images.copy_(data.images[known])
        self._known.labels.copy_(data.labels[known])

    def lesson(self, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the student is to minimise, of pictures (B, C, H, W) without labels; and scalars to log."""
        config, known = self._config, self._known
        guessed, sure = self._guess(real)
        rows = torch.randint(len(known.labels), (config.labelled,), device=real.device)
        pictures = torch.cat([from_uint8(known.images[rows]), real.detach()])
        changed = augment(pictures, config.augment).contiguous(memory_format=torch.channels_last)
        with self._hardware.autocast():
            logits = self._student.classify(changed).float()
        of_known, of_others = logits[: len(rows)], logits[len(rows) :]
        supervised = F.cross_entropy(of_known, known.labels[rows])
        agreement = (F.cross_entropy(of_others, guessed, reduction="none") * sure).mean()
        stats = {"loss/labels": supervised.detach(), "loss/agreement": agreement.detach(), "teacher/sure": sure.float().mean()}
        return supervised + config.agreement * agreement, stats

    def follow(self, images: int, images_seen: int) -> None:
        """Takes in the student after a step on so many pictures."""
        self._ema.update(self._student, images, images_seen)

    @torch.no_grad()
    def _guess(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (B,) of pictures, and whether each is to be believed."""
        teacher, frequency = self._ema.network, self._known.frequency
        assert isinstance(teacher, Discriminator)
        with self._hardware.autocast():
            read = F.softmax(teacher.classify(moved(real, shift_px=MOVED_PX, mirror=False)).float(), dim=1)
        seen = read.mean(dim=0)
        self._hardware.average([seen])
        frequency.lerp_(seen, 1 - FREQUENCY_MEMORY)
        confidence, guessed = aligned(read, frequency).max(dim=1)
        return guessed, confidence >= self._config.confidence


def aligned(read: Tensor, frequency: Tensor) -> Tensor:
    """Probabilities (B, K) as they would be if all classes were as frequent as each other, and not as in `frequency` (K,)."""
    return F.normalize(read / frequency, p=1, dim=1)
