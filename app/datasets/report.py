"""What a data set says of itself: `report.json` for programs, `REPORT.md` with pictures for people.

It tells nothing of when and where: the same request, the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.datasets.formats.row import folder_names
from app.datasets.records import Job
from app.datasets.spec import Contents
from app.datasets.tally import BINS, Tally, quantiles, upper_bound
from app.engine.loading import JUDGE
from models.copies import Index
from models.manifest import Manifest

CLASSES, CONFUSION, USEFULNESS = "classes.png", "confusion.png", "usefulness.png"
SHARES = (0.5, 0.9, 0.99, 0.999)  # of pictures: quantiles of similarity
RARE = 0.99  # of held-out real pictures are less similar: what is above is suspicious
WAYS = {
    "real": "real pictures",
    "real_augmented": "real pictures, augmented",
    "synthetic": "this data set",
    "real_and_synthetic": "both",
    "real_and_synthetic_augmented": "both, augmented",
}


@dataclass(frozen=True)
class Findings:
    """All that is known of a data set when it is finished. `usefulness`: of `models.worth.measure`; None: not measured."""

    job: Job
    manifest: Manifest
    plan: Contents
    tally: Tally
    index: Index | None
    usefulness: dict[str, Any] | None = None


def summary(found: Findings) -> dict[str, Any]:
    """report.json."""
    spec, manifest = found.job.spec, found.manifest
    names = zip(spec.label_names or (None,), folder_names(spec.label_names), spec.counts, strict=True)
    return {
        "synthetic": True,
        "request": spec.as_json(),
        "pictures": spec.total,
        "splits": dict(found.plan.sizes),
        "labels": [
            {"index": i, "name": name, "folder": folder, "pictures": count} for i, (name, folder, count) in enumerate(names)
        ],
        "label_warranty": label_warranty(found),
        "memorisation": memorisation(found),
        "filter": filtering(found),
        "usefulness": found.usefulness,
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "weights_sha256": manifest.weights.sha256,
            "licence": manifest.licence,
            "metrics": {name: metric.model_dump(mode="json") for name, metric in manifest.metrics.items()},
        },
        "trained_on": manifest.data.model_dump(mode="json"),
    }


def label_warranty(found: Findings) -> dict[str, Any] | None:
    """How often a classifier that had no part in choosing the pictures disagrees with their labels; None: there is none."""
    proof, read = found.manifest.proof, found.tally.read
    if proof is None or JUDGE not in proof.readers or not read:
        return None
    judged, agreed = read.total(), sum(n for (asked, seen), n in read.items() if asked == seen)
    classes = []
    for i, name in enumerate(found.job.spec.label_names):
        of = sum(n for (asked, _), n in read.items() if asked == i)
        wrong = of - read[i, i]
        classes.append({"name": name, "judged": of, "disagreed": wrong, "upper_95": upper_bound(wrong, of) if of else None})
    return {
        "judged": judged,
        "disagreed": judged - agreed,
        "label_error": (judged - agreed) / judged,
        "upper_95": upper_bound(judged - agreed, judged),
        "real_pictures": 1 - proof.readers[JUDGE].accuracy,
        "classes": classes,
        "confusion": [[asked, seen, count] for (asked, seen), count in sorted(read.items())],
    }


def memorisation(found: Findings) -> dict[str, Any] | None:
    """How close the pictures come to those that the model learned from, beside real ones that it did not; None: unknown."""
    bins, index = found.tally.similarity, found.index
    if index is None or not sum(bins):
        return None
    limit = index.quantile(RARE)
    above = sum(bins[min(BINS - 1, int(limit * BINS)) + 1 :])
    return {
        "compared": sum(bins),
        "histogram": bins,
        "quantiles": dict(zip(map(str, SHARES), quantiles(bins, SHARES), strict=True)),
        "real_pictures": {str(share): index.quantile(share) for share in SHARES},
        "suspicious": {"above": limit, "share": above / sum(bins), "real_pictures": 1 - RARE},
        "closest": [vars(close) for close in found.tally.closest],
    }


def filtering(found: Findings) -> dict[str, Any] | None:
    """What the filter refused; None: there was none."""
    limits = found.job.spec.filter.as_json()
    if not limits:
        return None
    refused = {reason: counts.total() for reason, counts in sorted(found.tally.refused.items())}
    return {
        **limits,
        "redrawn": len(found.tally.tries),
        "refused": refused,
        "most_tries": max(found.tally.tries.values(), default=1),
    }


def as_text(found: Findings, report: dict[str, Any]) -> str:
    """REPORT.md."""
    spec = found.job.spec
    parts = [
        f"# Report: {spec.total:,} synthetic pictures of {spec.model}@{spec.version}",
        f"![some of each class]({CLASSES})",
        "## How sure are the labels?\n\n" + _labels_in_words(report["label_warranty"]),
        "## Was anything copied?\n\n" + _copies_in_words(report["memorisation"]),
        "## Does it help?\n\n" + _usefulness_in_words(report["usefulness"], found.manifest.data.items),
    ]
    if report["filter"]:
        kept = report["filter"]
        refused = ", ".join(f"{count:,} for {reason}" for reason, count in kept["refused"].items()) or "none"
        limits = ", ".join(f"`{name}` {limit}" for name, limit in spec.filter.as_json().items())
        parts.append(
            f"## The filter\n\nWith {limits}, pictures drawn again: {refused}. At most {kept['most_tries']} tries for one."
        )
    return "\n\n".join([*parts, "Where the pictures come from is told in README.md; all numbers are in report.json."]) + "\n"


def _labels_in_words(found: dict[str, Any] | None) -> str:
    if found is None:
        return "Nobody knows: the model has no classes, or came without a classifier that could tell."
    rows = [
        f"| {c['name']} | {c['judged']:,} | {c['disagreed']:,} | {c['upper_95']:.1%} |" for c in found["classes"] if c["judged"]
    ]
    table = "\n".join(["| class | judged | disagreed | at most |", "|---|---|---|---|", *rows])
    return (
        f"A classifier that had no part in choosing the pictures disagrees with {found['disagreed']:,} of {found['judged']:,} "
        f"labels: {found['label_error']:.2%}, and with 95 % confidence at most **{found['upper_95']:.2%}** of all. "
        f"With those of real test pictures it disagrees in {found['real_pictures']:.2%} of cases: part is its own error.\n\n"
        f"![which class is taken for which, per cent]({CONFUSION})\n\n{table}"
    )


def _copies_in_words(found: dict[str, Any] | None) -> str:
    if found is None:
        return "Nobody knows: the model came without an index of its training pictures."
    odd = found["suspicious"]
    rows = [
        f"| {share} | {found['quantiles'][str(share)]:.2f} | {found['real_pictures'][str(share)]:.2f} |" for share in SHARES
    ]
    table = "\n".join(["| share of pictures | this data set | real pictures |", "|---|---|---|", *rows])
    return (
        f"Of {found['compared']:,} pictures, {odd['share']:.2%} are more similar to a training picture than "
        f"{odd['above']:.3f}, as are {odd['real_pictures']:.0%} of real pictures that the model never saw. Similarity below "
        f"which a share of the pictures lies:\n\n{table}"
    )


def _usefulness_in_words(found: dict[str, Any] | None, learned_from: int) -> str:
    if found is None:
        return "It was not measured. `POST /v1/datasets/{id}/report` measures it."
    if "error" in found:
        return f"It could not be measured: {found['error']}"
    worth, ways = found["worth"], found["ways"]
    rows = [
        f"| {name} | {ways[way]['pictures']:,} | {ways[way]['accuracy']:.1%} | {spread(ways[way]['deviation'])} |"
        for way, name in WAYS.items()
    ]
    table = "\n".join(["| learned from | pictures | accuracy | ± |", "|---|---|---|---|", *rows])
    helps = ways["real_and_synthetic_augmented"]["accuracy"] - ways["real_augmented"]["accuracy"]
    verdict = "It helps" if helps > noise(ways) else "It hurts" if helps < -noise(ways) else "It makes no difference that shows"
    return (
        f"Alone it is worth {worth['is']} **{worth['pictures']:,}** real pictures. {verdict} beside the real pictures that are "
        f"at hand: {helps:+.1%} on top of augmentation.\n\n{table}\n\n![accuracy and real pictures]({USEFULNESS})\n\n"
        f"Protocol: {found['protocol']}. The generator itself has learned from {learned_from:,} pictures."
    )


def noise(ways: dict[str, Any]) -> float:
    """Twice the standard error of the difference between two ways: what is below may be chance."""
    two: Sequence[dict[str, Any]] = (ways["real_and_synthetic_augmented"], ways["real_augmented"])
    return 2 * math.sqrt(sum((way["deviation"] or 0.0) ** 2 / max(1, len(way["accuracies"])) for way in two))


def spread(deviation: float | None) -> str:
    """A standard deviation as it stands in a table."""
    return "" if deviation is None else f"{deviation:.1%}"
