"""From an order to the rows that a generator takes. Pure functions of the order and the model."""

import difflib
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from app.engine.catalog import Served
from app.engine.errors import InvalidRequestError, UnknownLabelError
from app.engine.orders import ArithmeticOrder, DrawOrder, InterpolateOrder, Keyframe, Label
from models.latents import latents, lerp, one_hot, slerp, truncate

MAX_LISTED_LABELS = 50


@dataclass(frozen=True)
class Plan:
    """Rows of z (n, z_dim) and, for conditional models, y (n, classes), with each picture's seed and label if it has one."""

    rows: tuple[Tensor, ...]
    seeds: list[int | None]
    labels: list[int | None]


def label_index(labels: tuple[str, ...], label: Label) -> int:
    """The index of a class by name (any case) or index. Raises `UnknownLabelError`, which lists what there is.

    A name wins over an index: "7" is the class called 7 where there is one, and the eighth class elsewhere.
    """
    if not labels:
        raise UnknownLabelError("this model takes no label: it is unconditional")
    if isinstance(label, str):
        folded = [name.casefold() for name in labels]
        wanted = label.strip().casefold()
        if wanted in folded:
            return folded.index(wanted)
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 6):
            nearest = difflib.get_close_matches(wanted[:100], folded, n=1)
            hint = f" Did you mean '{labels[folded.index(nearest[0])]}'?" if nearest else ""
            raise UnknownLabelError(f"there is no label '{label[:100]}'.{hint} {listing(labels)}")
        label = int(wanted)
    if not 0 <= label < len(labels):
        raise UnknownLabelError(f"labels are numbered 0 … {len(labels) - 1}. {listing(labels)}")
    return label


def listing(labels: tuple[str, ...]) -> str:
    """The names of the classes, cut off where they are very many."""
    more = f" and {len(labels) - MAX_LISTED_LABELS} more" if len(labels) > MAX_LISTED_LABELS else ""
    return f"The labels are: {', '.join(labels[:MAX_LISTED_LABELS])}{more}"


def explicit(z: list[list[float]], z_dim: int, field: str) -> Tensor:
    """Latents as the caller wrote them, (n, z_dim) float32. Raises `InvalidRequestError` for rows of another length."""
    for i, row in enumerate(z):
        if len(row) != z_dim:
            raise InvalidRequestError(f"{field}.{i}", f"this model's latents have {z_dim} numbers, and not {len(row)}")
    return torch.tensor(z, dtype=torch.float32)


def plan_draw(model: Served, order: DrawOrder) -> Plan:
    """The rows of consecutive seeds or of explicit latents."""
    seeds: list[int | None]
    if order.z is None:
        numbers = list(range(order.seed, order.seed + order.n))
        z, seeds = latents(numbers, model.z_dim), list(numbers)
    else:
        z, seeds = explicit(order.z, model.z_dim, "z"), [None] * order.n
    z = truncate(z, order.truncation)
    names = model.manifest.labels
    if not names and order.labels is None:
        return Plan((z,), seeds, [None] * order.n)
    chosen = [i % len(names) for i in range(order.n)] if order.labels is None else [label_index(names, x) for x in order.labels]
    return Plan((z, one_hot(chosen, len(names))), seeds, list(chosen))


def first_label(model: Served, order: DrawOrder) -> int | None:
    """The class of an order's first picture; None for models without classes. Raises `UnknownLabelError`."""
    names = model.manifest.labels
    if order.labels:
        return label_index(names, order.labels[0])
    return 0 if names else None


def plan_interpolate(model: Served, order: InterpolateOrder) -> Plan:
    """The rows of a walk: `steps` a segment at t = 0, 1/steps, …, and the last keyframe at the end unless it loops."""
    names = model.manifest.labels
    classes = keyframe_labels(names, order.keyframes)
    z = truncate(torch.cat([keyframe_latent(model, k, i) for i, k in enumerate(order.keyframes)]), order.truncation)
    y = one_hot(classes, len(names)) if classes else None
    t = torch.arange(order.steps, dtype=torch.float32) / order.steps
    path = slerp if order.method == "slerp" else lerp
    stations = [*range(len(z)), *([0] if order.loop else [])]
    zs, ys = [], []
    seeds: list[int | None] = []
    labels: list[int | None] = []
    for a, b in itertools.pairwise(stations):
        between = path(z[a], z[b], t)
        between[0] = z[a]  # the first frame of a segment is its keyframe exactly, not up to rounding
        zs.append(between)
        seeds += [seed_of(order.keyframes[a]), *[None] * (order.steps - 1)]
        if y is not None:
            ys.append(lerp(y[a], y[b], t))
            same = classes[a] if classes[a] == classes[b] else None
            labels += [classes[a], *[same] * (order.steps - 1)]
    if not order.loop:
        zs.append(z[-1:])
        seeds.append(seed_of(order.keyframes[-1]))
        if y is not None:
            ys.append(y[-1:])
            labels.append(classes[-1])
    if y is None:
        return Plan((torch.cat(zs),), seeds, [None] * len(seeds))
    return Plan((torch.cat(zs), torch.cat(ys)), seeds, labels)


def plan_arithmetic(model: Served, order: ArithmeticOrder) -> Plan:
    """The one row of Σ weight · mean(latents of seeds)."""
    means = [weight * latents(seeds, model.z_dim).double().mean(dim=0) for weight, seeds in order.terms]
    z = truncate(torch.stack(means).sum(dim=0).to(torch.float32)[None], order.truncation)
    names = model.manifest.labels
    if not names and order.label is None:
        return Plan((z,), [None], [None])
    label = label_index(names, 0 if order.label is None else order.label)
    return Plan((z, one_hot([label], len(names))), [None], [label])


def seed_of(keyframe: Keyframe) -> int | None:
    """The seed of a keyframe that was given by seed."""
    return keyframe.source if isinstance(keyframe.source, int) else None


def keyframe_latent(model: Served, keyframe: Keyframe, index: int) -> Tensor:
    """The latent of a keyframe, (1, z_dim)."""
    if isinstance(keyframe.source, int):
        return latents([keyframe.source], model.z_dim)
    return explicit([keyframe.source], model.z_dim, f"keyframes.{index}.z")


def keyframe_labels(names: tuple[str, ...], keyframes: list[Keyframe]) -> list[int]:
    """The class of every keyframe; the first class for all where none is named; empty for models without classes."""
    given = [k.label for k in keyframes if k.label is not None]
    if not given:
        return [0] * len(keyframes) if names else []
    chosen = [label_index(names, label) for label in given]
    if len(chosen) != len(keyframes):
        raise InvalidRequestError("keyframes", "give every keyframe a label, or none of them")
    return chosen
