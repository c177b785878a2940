"""Forwards on the CPU without the interpreter: weights packed beforehand, and the calls of a forward recorded once.

Between any two layers Python asks for the interpreter lock, which in a service others always hold. A recorded forward asks for
it once. It runs the same kernels on the same numbers: nothing is fused, and the bits stay the same.

Both ways lean on parts of torch that may go: packing is there for its compiler, and recording (TorchScript) is deprecated in
favour of compilers, which need seconds for each model and a C++ compiler beside the service. So both are tried out first:
without recording, forwards run layer by layer to the same bits, and without packing, torch's own layers take their place.
"""

import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.pixels import to_uint8

L = TypeVar("L", bound=nn.Module)
Drawn = tuple[Tensor, Tensor]  # images (n, C, H, W) as the generator gives them, and rounded: uint8 (n, H, W, C)
Forward = Callable[[tuple[Tensor, ...]], Drawn]

ONE_AT_A_TIME = threading.Lock()
WARM_UP = 2  # the first call of a recording looks at the shapes, and the second rewrites it
# as TorchScript, in which an empty list of numbers can be written; in Python it has no type that a recording knows
APPLY_UP = """
def up(x: Tensor, weight: Tensor, bias: Optional[Tensor], padding: List[int], output_padding: List[int], stride: List[int],
       dilation: List[int], groups: int):
    none = torch.jit.annotate(List[Optional[number]], [])
    return torch.ops.mkldnn._convolution_transpose_pointwise(
        x, weight, bias, padding, output_padding, stride, dilation, groups, "none", none, "")
"""


class SteadyLinear(nn.Module):
    """A linear layer x (n, in) → (n, out) whose rows have the same bits for every n.

    Libraries take other kernels for a few rows than for many. Here there are always eight, or a multiple: beside
    convolutions that costs nothing, as reading the weights is what takes the time.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        missing = -len(x) % 8
        out: Tensor = self.linear(F.pad(x, (0, 0, 0, missing)))[: len(x)] if missing else self.linear(x)
        return out


class SteadyConv(nn.Module):
    """A convolution that oneDNN computes for one row too, where torch takes a kernel of its own, which gives other bits."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            raise ValueError("only convolutions with a given number of zeros around the picture")  # as all families have them
        self.padding, self.stride, self.dilation, self.groups = layer.padding, layer.stride, layer.dilation, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        return torch.mkldnn_convolution(x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)


class PackedUp(nn.Module):
    """A transposed convolution whose weights have been brought into oneDNN's own layout once, and not at every call.

    As inductor packs them, without its compiler. It matters for a few rows, where packing takes longer than the product.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.bias = layer.bias
        self.places = [list(x) for x in (layer.padding, layer.output_padding, layer.stride, layer.dilation)]
        self.groups = layer.groups
        with torch.inference_mode():
            reorder = torch.ops.mkldnn._reorder_convolution_transpose_weight
            self.weight = reorder(layer.weight.contiguous(), *self.places, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            recorded: Tensor = apply_up()(x, self.weight, self.bias, *self.places, self.groups)
            return recorded
        apply = torch.ops.mkldnn._convolution_transpose_pointwise
        out: Tensor = apply(x, self.weight, self.bias, *self.places, self.groups, "none", [], "")
        return out


@functools.cache
def apply_up() -> Callable[..., Tensor]:
    """What a packed layer calls, in a form that can be recorded."""
    applying: Callable[..., Tensor] = torch.jit.CompilationUnit(APPLY_UP).up
    return applying


def settle_layers(network: nn.Module) -> None:
    """Puts in the place of a float32 network's convolutions what gives the same bits for every number of rows, and soon.

    Where this build of torch has it: oneDNN is not everywhere.
    """
    if works(SteadyConv, nn.Conv2d(2, 2, kernel_size=3)):
        replace_layers(network, nn.Conv2d, SteadyConv)
    if works(PackedUp, nn.ConvTranspose2d(2, 2, kernel_size=4, stride=2, padding=1)):
        replace_layers(network, nn.ConvTranspose2d, PackedUp)


def replace_layers(network: nn.Module, kind: type[L], replacement: Callable[[L], nn.Module]) -> None:
    """Puts another layer in the place of every layer of a kind, however deep inside."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, kind):
            setattr(network, name, replacement(layer))
        else:
            replace_layers(layer, kind, replacement)


def works(replacement: Callable[[L], nn.Module], layer: L) -> bool:
    """Whether a layer's replacement can be made and called here."""
    try:
        with torch.inference_mode():
            replacement(layer)(torch.zeros(1, 2, 4, 4))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def in_pictures(generator: nn.Module, rows: tuple[Tensor, ...]) -> Drawn:
    """Rows → images and pixels, layer by layer."""
    with torch.inference_mode():
        images = generator(*rows)
        return images, to_uint8(images)


def record(generator: nn.Module, rows: tuple[Tensor, ...]) -> Forward | None:
    """The same for exactly as many rows of these shapes, recorded; None where it can't be, or gives other bits.

    `rows`: real ones, on which a recording is compared with the generator itself.
    """
    packed = [layer for layer in generator.modules() if isinstance(layer, PackedUp)]
    # a recording can't hold tensors in oneDNN's layout, but can be given them
    weights = tuple(layer.weight for layer in packed)

    def hand_out(weights: Sequence[Tensor]) -> None:
        for layer, weight in zip(packed, weights, strict=True):
            layer.weight = weight

    def forward(*given: Tensor) -> Drawn:
        hand_out(given[: len(packed)])
        images = generator(*given[len(packed) :])
        return images, to_uint8(images)

    try:
        with torch.inference_mode():
            recorded = recording(forward, (*weights, *rows))
            for _ in range(WARM_UP):
                images, _ = recorded(*weights, *rows)
    except (AttributeError, RuntimeError, TypeError):
        return None
    finally:
        hand_out(weights)
    if not torch.equal(images, in_pictures(generator, rows)[0]):
        return None

    def run(rows: tuple[Tensor, ...]) -> Drawn:
        with torch.inference_mode():
            drawn: Drawn = recorded(*weights, *rows)
        return drawn

    return run


def recording(function: Callable[..., Drawn], example: tuple[Tensor, ...]) -> Callable[..., Drawn]:
    """What a function calls, for inputs of the example's shapes.

    The two halves of `torch.jit.trace`, which keeps what it records, and all weights, for as long as the process lives.
    """
    no_name, strict, in_place = (lambda tensor: ""), True, False
    # warned of are shapes that are taken for constants, which they are; what is ignored is ignored in all threads
    with ONE_AT_A_TIME, warnings.catch_warnings(action="ignore"):
        graph, _ = torch._C._create_graph_by_tracing(function, example, no_name, strict, in_place)
        made: Callable[..., Drawn] = torch._C._create_function_from_graph("forward", graph)
    return made
