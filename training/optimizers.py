"""The optimizers that a config can ask for."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from training.config import OptimizerConfig


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig, rate: float | None = None) -> Optimizer:
    """An optimizer of `parameters` at `rate` (`config.learning_rate` if not given).

    Adam: Kingma & Ba 2015, https://arxiv.org/abs/1412.6980. SGD: plain descent, with `momentum` if asked for. RMSProp: Hinton's
    lecture 6e, which the first Wasserstein GAN was trained with (https://arxiv.org/abs/1701.07875, section 4).
    """
    rate = rate or config.learning_rate
    if config.algorithm == "adam":
        return Adam(parameters, lr=rate, betas=config.betas, fused=True)
    if config.algorithm == "sgd":
        return SGD(parameters, lr=rate, momentum=config.momentum, fused=True)
    return RMSprop(parameters, lr=rate, momentum=config.momentum)
