"""Measures what an InfoGAN's categories mean: how often what is called "7" is a seven. Labels gave names, and nothing else."""

import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.families.infogan import InfoGanHParams, Recogniser
from models.manifest import Metric
from training.data import LabelledImages
from training.metrics.codes import categories_asked, categories_read

NAMED = "Each category has the name of the label that it matched in the training split, one to one."


def measure_codes(
    checkpoint: Checkpoint, test: LabelledImages, judged: Tensor, judge_accuracy: float, note: str
) -> dict[str, Metric]:
    """`code_match` and `code_read`. `judged`: a judge's labels (N,) of the pictures of seeds 0, 1, 2, …

    Nothing for models without codes, or whose categories are not called as the data's labels are.
    """
    hparams, recogniser = checkpoint.hparams, checkpoint.extras.get("recogniser")
    if not isinstance(hparams, InfoGanHParams) or not isinstance(recogniser, Recogniser):
        return {}
    values = checkpoint.manifest.codes[0].values
    if not set(values) & set(test.label_names):
        return {}
    named = torch.tensor([test.label_names.index(v) if v in test.label_names else -1 for v in values])
    match = named[categories_asked(hparams, len(judged))] == judged
    read = named[categories_read(recogniser, test.images, hparams.categories)] == test.labels
    return {
        "code_match": Metric(
            value=match.double().mean().item(), spread=None, floor=judge_accuracy, n=len(judged),
            protocol=f"Share of {len(judged):,} generated pictures that a CNN trained on the real data reads as the name of "
            f"their category; floor: its accuracy on the real test split. {NAMED}{note}",
        ),
        "code_read": Metric(
            value=read.double().mean().item(), spread=None, floor=None, n=len(test),
            protocol=f"Share of the {len(test):,} real test pictures in which the recogniser, which never saw a label, finds "
            f"the category that has the name of their label. {NAMED}{note}",
        ),
    }  # fmt: skip
