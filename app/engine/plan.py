"""From an order to the rows that a generator takes. Pure functions of the order and the model."""

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.engine.catalog import Served
from app.engine.device import Rows
from app.engine.errors import InvalidRequestError, UnknownLabelError
from app.engine.orders import ArithmeticOrder, BetweenOrder, DrawOrder, InterpolateOrder, Keyframe, Label
from app.engine.tiles import TilePlan
from models.codes import UnknownCodeError, with_codes
from models.latents import latents, lerp, one_hot, slerp, truncate

MAX_LISTED_LABELS = 50


@dataclass(frozen=True)
class Plan:
    """What every picture of an order is to be drawn from."""

    seeds: Sequence[int | None]  # None: of no single seed
    labels: Sequence[int | None]  # None: of no single class
    truncation: float
    z: Tensor | None = None  # (n, z_dim), truncated; None: the seeds', which are drawn with the batch that they end up in
    y: Tensor | None = None  # (n, classes); None: the labels', or no classes at all

    def __len__(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True, eq=False)
class ReadyPlan:
    """Rows that are ready for a network, all of the same length, which is what seeds (None: of none) have too."""

    ready: Rows
    seeds: Sequence[int | None]
    labels: Sequence[int | None]
    truncation: None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def rows(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop`."""
        return tuple(column[start:stop] for column in self.ready)


@dataclass(frozen=True)
class Part:
    """Pictures `start` to `stop` of a plan."""

    plan: Plan | TilePlan | ReadyPlan
    start: int
    stop: int


def rows_of(model: Served, parts: Sequence[Part]) -> Rows:
    """The rows of a batch, whose plans are of one kind: latents to be drawn, or rows as they are."""
    ready = [p.plan.rows(p.start, p.stop) for p in parts if not isinstance(p.plan, Plan)]
    if ready:
        return tuple(torch.cat(column) for column in zip(*ready, strict=True))
    return _latent_rows(model, [(p.plan, slice(p.start, p.stop)) for p in parts if isinstance(p.plan, Plan)])


def _latent_rows(model: Served, parts: Sequence[tuple[Plan, slice]]) -> Rows:
    """z (n, z_dim), and y (n, classes) if the model has classes.

    All latents that are wanted by seed are drawn in one call: a call costs as much as several rows.
    """
    seeds = [seed for plan, part in parts if plan.z is None for seed in plan.seeds[part] if seed is not None]
    drawn = latents(seeds, model.z_dim)
    z = drawn
    if any(plan.z is not None or plan.truncation != 1 for plan, _ in parts):
        pieces, at = [], 0
        for plan, part in parts:
            if plan.z is not None:
                pieces.append(plan.z[part])
            else:
                count = part.stop - part.start
                pieces.append(truncate(drawn[at : at + count], plan.truncation, model.codes))
                at += count
        z = torch.cat(pieces)
    classes = len(model.manifest.labels)
    if not classes:
        return (z,)
    if all(plan.y is None for plan, _ in parts):
        return z, one_hot([label for plan, part in parts for label in plan.labels[part] if label is not None], classes)
    return z, torch.cat([classes_of(plan, part, classes) for plan, part in parts])


def classes_of(plan: Plan, part: slice, classes: int) -> Tensor:
    """The class weights of a part."""
    if plan.y is not None:
        return plan.y[part]
    return one_hot([label for label in plan.labels[part] if label is not None], classes)


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


def resolution_of(model: Served, asked: int | None) -> int:
    """The side of the pictures to draw, px. Raises `InvalidRequestError` for one that the model does not have."""
    if asked is None:
        return model.resolutions[-1]
    if asked not in model.resolutions:
        listed = ", ".join(map(str, model.resolutions))
        raise InvalidRequestError("resolution", f"this model draws pictures of {listed} px, and none of {asked}")
    return asked


def explicit(z: list[list[float]], z_dim: int, field: str) -> Tensor:
    """Latents as the caller wrote them, (n, z_dim) float32. Raises `InvalidRequestError` for rows of another length."""
    for i, row in enumerate(z):
        if len(row) != z_dim:
            raise InvalidRequestError(f"{field}.{i}", f"this model's latents have {z_dim} numbers, and not {len(row)}")
    return torch.tensor(z, dtype=torch.float32)


def plan_draw(model: Served, order: DrawOrder) -> Plan:
    """Pictures of consecutive seeds or of explicit latents."""
    names = model.manifest.labels
    labels: Sequence[int | None] = [None] * order.n
    if order.labels is not None:
        labels = [label_index(names, x) for x in order.labels]
    elif names:
        labels = [i % len(names) for i in range(order.n)]
    if order.z is None:
        seeds = order.seeds or range(order.seed, order.seed + order.n)
        if not order.codes:
            return Plan(seeds, labels, order.truncation)
        return Plan(seeds, labels, order.truncation, coded(model, latents(seeds, model.z_dim), order))
    return Plan([None] * order.n, labels, order.truncation, coded(model, explicit(order.z, model.z_dim, "z"), order))


def coded(model: Served, z: Tensor, order: DrawOrder) -> Tensor:
    """Latents (n, z_dim), truncated, with the codes that an order sets. Raises `InvalidRequestError`."""
    z = truncate(z, order.truncation, model.codes)
    try:
        return with_codes(z, model.manifest.codes, order.codes)
    except UnknownCodeError as error:
        raise InvalidRequestError("codes", str(error)) from None


def first_label(model: Served, order: DrawOrder) -> int | None:
    """The class of an order's first picture; None for models without classes. Raises `UnknownLabelError`."""
    names = model.manifest.labels
    if order.labels:
        return label_index(names, order.labels[0])
    return 0 if names else None


def plan_interpolate(model: Served, order: InterpolateOrder) -> Plan:
    """The frames of a walk: `steps` a segment at t = 0, 1/steps, …, and the last keyframe at the end unless it loops."""
    names = model.manifest.labels
    classes = keyframe_labels(names, order.keyframes)
    stations = torch.cat([keyframe_latent(model, k, i) for i, k in enumerate(order.keyframes)])
    z = truncate(stations, order.truncation, model.codes)
    y = one_hot(classes, len(names)) if classes else None
    t = torch.arange(order.steps, dtype=torch.float32) / order.steps
    path = slerp if order.method == "slerp" else lerp
    way = [*range(len(z)), *([0] if order.loop else [])]
    zs, ys = [], []
    seeds: list[int | None] = []
    labels: list[int | None] = []
    for a, b in itertools.pairwise(way):
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
        return Plan(seeds, [None] * len(seeds), order.truncation, torch.cat(zs))
    return Plan(seeds, labels, order.truncation, torch.cat(zs), torch.cat(ys))


def plan_between(model: Served, order: BetweenOrder) -> Plan:
    """The one picture at `t` of the way; the same as that frame of an interpolation."""
    ends = [order.start, order.end]
    z = truncate(torch.cat([keyframe_latent(model, k, i) for i, k in enumerate(ends)]), order.truncation, model.codes)
    classes = keyframe_labels(model.manifest.labels, ends)
    at = slerp(z[0], z[1], torch.tensor([order.t]))
    return Plan([None], [classes[0] if classes else None], order.truncation, at)


def plan_arithmetic(model: Served, order: ArithmeticOrder) -> Plan:
    """The one picture of Σ weight · mean(latents of seeds)."""
    means = [weight * latents(seeds, model.z_dim).double().mean(dim=0) for weight, seeds in order.terms]
    z = truncate(torch.stack(means).sum(dim=0).to(torch.float32)[None], order.truncation, model.codes)
    names = model.manifest.labels
    if not names and order.label is None:
        return Plan([None], [None], order.truncation, z)
    return Plan([None], [label_index(names, 0 if order.label is None else order.label)], order.truncation, z)


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
