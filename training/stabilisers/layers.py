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

    Raises ValueError where there is none.
    """
    heads = [name for name, layer in discriminator.named_modules() if width(layer) == 1]
    if not heads:
        raise ValueError(f"{type(discriminator).__name__} has no layer that ends in one logit")
    parent, _, name = heads[-1].rpartition(".")
    return discriminator.get_submodule(parent), name


def as_rows(features: Tensor) -> Tensor:
    """What a layer is given, as rows: feature maps (B, C, H, W) become (B, C·H·W), features (…, B, F) stay."""
    return features.flatten(1) if features.dim() == 4 else features
