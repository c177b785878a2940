"""The layers of a discriminator, found by what they do, so that techniques fit every family."""

from collections.abc import Callable

from torch import Tensor, nn

# makes a linear layer from (inputs, outputs); features (…, B, inputs) → (…, B, outputs)
LinearMaker = Callable[[int, int], nn.Module]


def width(layer: nn.Module) -> int | None:
    """How many numbers a layer with weights puts out for each place; None for other modules."""
    found = getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)
    return found if isinstance(found, int) else None


def find_head(discriminator: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds the layer which gives the logit, and that layer's name in it: the last layer with one output.

    Where there is none, as in a discriminator with a logit for each class, the last layer with weights. Raises ValueError for a
    network without any.
    """
    widths = {name: found for name, layer in discriminator.named_modules() if (found := width(layer))}
    heads = [name for name, found in widths.items() if found == 1] or list(widths)
    if not heads:
        raise ValueError(f"{type(discriminator).__name__} has no layer with weights")
    parent, _, name = heads[-1].rpartition(".")
    return discriminator.get_submodule(parent), name


def as_rows(features: Tensor) -> Tensor:
    """What a layer is given, as rows: feature maps (B, C, H, W) become (B, C·H·W), features (…, B, F) stay."""
    return features.flatten(1) if features.dim() == 4 else features
