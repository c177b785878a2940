"""How each family is trained, one line each: the family's name and the recipe that updates its networks."""

from collections.abc import Callable
from typing import Any

from models.family import Family
from training.config import TrainConfig
from training.device import Hardware
from training.recipe import Recipe
from training.recipes.adversarial import AdversarialRecipe
from training.recipes.cyclegan import CycleganRecipe
from training.recipes.infogan import InfoGanRecipe
from training.recipes.paired import PairedRecipe
from training.recipes.progressive import ProgressiveRecipe
from training.recipes.semi import SemiRecipe

RECIPES: dict[str, Callable[[TrainConfig, Family, Any, Hardware], Recipe]] = {
    "mlp": AdversarialRecipe,
    "dcgan": AdversarialRecipe,
    "conditional": AdversarialRecipe,
    "infogan": InfoGanRecipe,
    "progressive": ProgressiveRecipe,
    "semi": SemiRecipe,
    "srgan": PairedRecipe,
    "pix2pix": PairedRecipe,
    "cyclegan": CycleganRecipe,
    "inpaint": PairedRecipe,
}
