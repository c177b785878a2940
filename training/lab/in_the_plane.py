"""Studies in two dimensions: what the text left for later, every technique on the same data, and the numbers to beat."""

from matplotlib.figure import Figure

from training.lab import figures
from training.lab.config import LabConfig, parse
from training.lab.study import Study

PLANE = parse(["z_dim=2", "hidden=32", "layers=3", "batch=128", "steps=1200", "samples=10000", "traces=10"])
SGD = "optimizer={algorithm='sgd', learning_rate=0.03, final=1.0}"
R1 = ("loss.r1=0.1",)
DISCRIMINATION = "stabilisers.minibatch=discrimination"
MEASURES = ("modes", "quality", "kl", "energy")

# First the discriminator sees no waves, and the generator finds all modes; then detail, wave by wave; then the rate falls
RECORD = parse(
    [
        "z_dim=2", "hidden=64", "layers=3", "batch=256", "steps=4000", "samples=4000", "traces=10", "waves=7",
        "loss={adversarial='relativistic', r1=0.1, r2=0, penalty_every=1}",
        "optimizer={learning_rate=2e-3, betas=[0, 0.99], decay_from=0.6, final=0.01}",
        "ema={half_life_images=50000, ramp=0.05}",
    ]
)  # fmt: skip
RECORDS = {"ring": RECORD.but("target.kind=ring", "loss.r1=0.02", "steps=2500"), "grid": RECORD.but("target.kind=grid")}
CODES = "codes=256"  # many more than there are modes, so that every mode can have its share of them

# one switch each, on the same network, data and number of steps
TECHNIQUES: dict[str, tuple[str, ...]] = {
    "non-saturating (the base)": (),
    "minimax": ("loss.adversarial=minimax",),
    "least squares": ("loss.adversarial=least-squares",),
    "hinge": ("loss.adversarial=hinge",),
    "relativistic": ("loss.adversarial=relativistic",),
    "Wasserstein, clipped": (
        "loss={adversarial='wasserstein', clip=0.1, r1=0, r2=0}",
        "optimizer={algorithm='rmsprop', learning_rate=1e-3, d_steps=5, final=1.0}",
    ),
    "Wasserstein, slope penalty": (
        "loss={adversarial='wasserstein', gradient_penalty=1, r1=0, r2=0, penalty_every=1}",
        "optimizer.d_steps=5",
    ),
    "R1": R1,
    "R2": ("loss.r2=0.1",),
    "R1 + R2": ("loss.r1=0.1", "loss.r2=0.1"),
    "spectral norm": ("loss.spectral_norm=true",),
    "label smoothing 0.1": ("loss.label_smoothing=0.1",),
    "minibatch discrimination": (DISCRIMINATION,),
    "minibatch deviation": ("stabilisers.minibatch=deviation",),
    "virtual batch norm": ("stabilisers.virtual_batch=128",),
    "feature matching": ("stabilisers.feature_matching=1", "loss.adversarial_weight=0"),
    "historical averaging": ("stabilisers.historical_averaging=1",),
    "unrolled, 5 steps": ("stabilisers.unrolled_steps=5", "stabilisers.unrolled_rate=0.1"),
    "PacGAN, packs of 2": ("stabilisers.pack=2",),
    "two rates (TTUR)": ("optimizer.d_learning_rate=4e-3",),
    "SGD": (SGD,),
    "RMSProp": ("optimizer.algorithm=rmsprop",),
    "average of weights": ("ema.half_life_images=64000",),
    "relativistic, R1, average, decay": (
        *R1, "loss.adversarial=relativistic", "ema.half_life_images=64000", "optimizer.final=0.02",
    ),
}  # fmt: skip


def shapes() -> dict[str, LabConfig]:
    """The three shapes under four recipes."""
    recipes = {"SGD": (SGD,), "Adam": (), "Adam, minibatch": (DISCRIMINATION,), "Adam, R1": R1}
    targets = ("ring", "grid", "spiral")
    return {f"{t}: {name}": PLANE.but(f"target.kind={t}", *switches) for t in targets for name, switches in recipes.items()}


def four_wide(title: str, results: figures.Results) -> Figure:
    """A row for each shape."""
    return figures.scatters(title, results, columns=4)


STUDIES = (
    Study("plane", "Do the findings hold in two dimensions?", shapes(), MEASURES, four_wide, seeds=4, at_once=4),
    Study(
        "techniques",
        "What does each technique do, alone, on the ring of 8?",
        {name: PLANE.but("target.kind=ring", *switches) for name, switches in TECHNIQUES.items()},
        MEASURES,
        figures.scatters,
        seeds=4,
        at_once=4,
    ),
    Study(
        "records",
        "How good can it get?",
        {name: config.but(CODES) for name, config in RECORDS.items()}
        | {f"{name}, normal noise alone": config for name, config in RECORDS.items()},
        ("modes", "quality", "spread", "kl", "energy"),
        figures.scatters,
        seeds=4,
        at_once=4,
    ),
)
