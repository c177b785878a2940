"""The picture of what a data set is worth: accuracy against the number of real pictures."""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

LINES = (
    ("synthetic", "this data set alone", "tab:orange"),
    ("real_and_synthetic", "it and the real pictures", "tab:green"),
    ("real_and_synthetic_augmented", "the same, augmented", "tab:olive"),
    ("real_augmented", "the real pictures, augmented", "tab:purple"),
)


def draw_curve(result: dict[str, Any]) -> bytes:
    """A PNG of what `measure` found."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        points = result["real_curve"]
        real = result["ways"]["real"]
        axes.plot(
            [p["pictures"] for p in points], [p["accuracy"] for p in points], "o-", color="tab:blue", label="real pictures"
        )
        axes.errorbar(real["pictures"], real["accuracy"], real["deviation"] or 0, fmt="s", color="tab:blue", capsize=3)
        for name, label, colour in LINES:
            way = result["ways"][name]
            axes.axhline(way["accuracy"], color=colour, linewidth=1.2, label=f"{label}: {way['accuracy']:.1%}")
            spread = way["deviation"] or 0
            axes.axhspan(way["accuracy"] - spread, way["accuracy"] + spread, color=colour, alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        counts = [p["pictures"] for p in points]
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.set_xlabel("real labelled pictures")
        axes.set_ylabel("accuracy on real test pictures")
        axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower right")
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
