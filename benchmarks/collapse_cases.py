"""The runs that the doctor is tried on: see `benchmarks/collapse_doctor.py`."""

from dataclasses import dataclass

ADAM = "betas=[0.5, 0.99], final=1.0"
R1 = "loss.r1=0.1"
BOTH = "loss={adversarial='relativistic', r1=0.1, r2=0.1, penalty_every=1}"
BARE_HINGE = "loss={adversarial='hinge', r1=0, r2=0}"
TWO = ("target.kind=mixture", "target.means=[-2, 2]", "target.sigmas=[0.5, 0.7]", "z_dim=1")
THREE = ("target.kind=mixture", "target.means=[-3, 0, 2]", "target.sigmas=[0.4, 0.3, 0.6]")
GRID, RING, SPIRAL = "target.kind=grid", "target.kind=ring", "target.kind=spiral"
STRONG = f"optimizer={{d_steps=5, learning_rate=1e-4, d_learning_rate=1e-2, {ADAM}}}"
UNBOUNDED = "loss={adversarial='wasserstein', r1=1e-12, r2=0, penalty_every=1}"
SLOPE = "loss={adversarial='wasserstein', gradient_penalty=1, r1=0, r2=0, penalty_every=1}"
SHORT = "optimizer.learning_rate=1e-3"


@dataclass(frozen=True)
class Case:
    """A run and whether it is broken. Without a family it is the laboratory's."""

    name: str
    broken: bool
    switches: tuple[str, ...] = ()
    family: str | None = None
    deaf: bool = False  # its generator does not hear its latent
    flat: bool = False  # all real pictures are one
    seed: int = 0


def broken(name: str, *switches: str, family: str | None = None, deaf: bool = False, flat: bool = False, seed: int = 0) -> Case:
    """A run that must be found."""
    return Case(name, True, switches, family, deaf, flat, seed)


def healthy(name: str, *switches: str, family: str | None = None, seed: int = 0) -> Case:
    """A run that must be left alone."""
    return Case(name, False, switches, family, seed=seed)


# looked at, signal by signal, when the thresholds were chosen
CHOSEN_ON = (
    broken("ring: generator 300 times faster", RING, "optimizer.learning_rate=0.3", "optimizer.d_learning_rate=1e-3", seed=100),
    broken("ring: minimax, strong discriminator", RING, "loss.adversarial=minimax", STRONG, seed=100),
    broken("ring: generator hardly trained", RING, "optimizer.learning_rate=1e-9", "optimizer.d_learning_rate=1e-3", seed=100),
    broken("ring: discriminator hardly trained", RING, "optimizer.d_learning_rate=1e-9", seed=100),
    broken("ring: least squares at rate 100", RING, "loss={adversarial='least-squares', r1=0, r2=0}",
           "optimizer={algorithm='sgd', learning_rate=100.0, final=1.0}", seed=100),
    broken("ring: latent not heard", RING, R1, deaf=True, seed=100),
    broken("line: one point", "target.kind=mixture", "target.sigmas=[1e-9]", seed=100),
    healthy("ring: non-saturating, R1", RING, R1, seed=100),
    healthy("grid: non-saturating, R1", GRID, R1, seed=100),
    healthy("spiral: non-saturating, R1", SPIRAL, R1, seed=100),
    healthy("ring: relativistic, R1 + R2", RING, BOTH, seed=100),
    healthy("ring: hinge, R1", RING, "loss={adversarial='hinge', r1=0.1, r2=0, penalty_every=1}", seed=100),
    healthy("ring: least squares, R1", RING, "loss={adversarial='least-squares', r1=0.1, r2=0, penalty_every=1}", seed=100),
    healthy("ring: Wasserstein, slope penalty", RING, SLOPE, seed=100),
    healthy("two normals: R1", *TWO, "hidden=16", R1, seed=100),
)  # fmt: skip

# run once, with the thresholds as they are
TESTED_ON = (
    broken("two normals: generator 500 times faster", *TWO, "optimizer.learning_rate=0.2", "optimizer.d_learning_rate=4e-4"),
    broken("grid: minimax, strong discriminator", GRID, "loss.adversarial=minimax", STRONG, seed=1),
    broken("spiral: unbounded critic", SPIRAL, UNBOUNDED, "optimizer={learning_rate=1e-2, d_steps=5, final=1.0}"),
    broken("grid: generator hardly trained", GRID, "optimizer.learning_rate=1e-8", "optimizer.d_learning_rate=1e-3", seed=1),
    broken("grid: discriminator hardly trained", GRID, "optimizer.d_learning_rate=1e-8", seed=2),
    broken("grid: hinge at rate 1000", GRID, BARE_HINGE,
           "optimizer={algorithm='sgd', learning_rate=1e3, final=1.0}"),
    broken("ring: minimax, momentum 0.9", RING, "loss.adversarial=minimax",
           "optimizer={algorithm='sgd', learning_rate=0.1, momentum=0.9, final=1.0}"),
    broken("grid: one unit a layer", GRID, R1, "hidden=1", "layers=2", seed=3),
    broken("three normals: latent not heard", *THREE, R1, deaf=True),
    broken("three normals: penalty of 1000", *THREE, "loss={adversarial='non-saturating', r1=1000, r2=1000, penalty_every=1}"),
    broken("pictures: all one picture", family="mlp", flat=True),
    broken("pictures: generator 100 times faster", "optimizer.learning_rate=0.05", "optimizer.d_learning_rate=5e-4",
           family="mlp"),
    broken("pictures: minimax, strong discriminator", "loss={adversarial='minimax', r1=0, r2=0}",
           "optimizer={d_steps=4, learning_rate=5e-5, d_learning_rate=5e-3}", family="dcgan"),
    broken("pictures: hinge at rate 30", BARE_HINGE, "optimizer.learning_rate=30.0", family="mlp"),
    broken("pictures: labels, rate 0.1", "optimizer.learning_rate=0.1", "hparams.widths=[16, 16]", family="conditional"),
    healthy("ring: non-saturating, R1, batch 64", RING, R1, "batch=64"),
    healthy("grid: relativistic, R1 + R2", GRID, BOTH, seed=1),
    healthy("grid: hinge, R1", GRID, "loss={adversarial='hinge', r1=0.1, r2=0, penalty_every=1}", seed=2),
    healthy("spiral: least squares, R1", SPIRAL, "loss={adversarial='least-squares', r1=0.1, r2=0, penalty_every=1}"),
    healthy("two normals: R1, minibatch deviation", *TWO, R1, "stabilisers.minibatch=deviation"),
    healthy("three normals: relativistic, R1", *THREE, "loss={adversarial='relativistic', r1=0.1, r2=0, penalty_every=1}"),
    healthy("grid: slope penalty, 3 steps", GRID, SLOPE, "optimizer.d_steps=3", "batch=96", seed=3),
    healthy("ring: R1, packs of 2", RING, R1, "stabilisers.pack=2", seed=4),
    healthy("ring: minimax, R1", RING, "loss={adversarial='minimax', r1=0.1, r2=0, penalty_every=1}", seed=5),
    healthy("ring: spectral norm, R1", RING, R1, "loss.spectral_norm=true", seed=6),
    healthy("pictures: perceptrons", SHORT, family="mlp"),
    healthy("pictures: DCGAN", SHORT, "hparams={z_dim=8, width=16}", family="dcgan"),
    healthy("pictures: labels", SHORT, "hparams.widths=[16, 16]", family="conditional"),
    healthy("pictures: non-saturating, translation", SHORT, "loss.adversarial=non-saturating", "augment=[\"translation\"]",
            family="mlp", seed=1),
)  # fmt: skip
