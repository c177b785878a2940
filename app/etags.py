"""Strong validators of pictures, known before the picture is drawn."""

import functools
import hashlib
import json
from typing import Any

import isal
import numpy
import PIL
import torch

from app.engine.catalog import Served
from app.engine.device import Device
from app.engine.orders import DrawOrder

CODEC_REVISION = 2  # raise it when the same pixels come to be encoded as other bytes


def etag(served: Served, device: Device, order: DrawOrder, resolution: int, label: int | None, format_name: str) -> str:
    """Equal for equal bytes: a hash of everything that a picture's bytes depend on, the build included."""
    digest = _of_model(served, device.name, device.precision).copy()
    digest.update(repr((order.seed, resolution, label, order.truncation, format_name)).encode())
    return f'"{digest.hexdigest()[:32]}"'


@functools.lru_cache(maxsize=256)
def _of_model(served: Served, device: str, precision: str) -> Any:
    """The part of the hash that all pictures of a model share."""
    builds = [torch.__version__, numpy.__version__, PIL.__version__, isal.__version__, CODEC_REVISION]
    return hashlib.sha256(json.dumps([served.manifest.weights.sha256, *served.key, device, precision, *builds]).encode())


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether the caller has these bytes already (RFC 9110, section 13.1.2: compared weakly)."""
    if if_none_match is None:
        return False
    candidates = (c.strip().removeprefix("W/") for c in if_none_match.split(","))
    return any(c in {"*", tag} for c in candidates)
