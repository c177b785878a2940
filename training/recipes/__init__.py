"""How each family is trained, one line each: the family's name and the recipe that updates its networks."""

from collections.abc import Callable

from models.family import Family, ImageHParams
from training.config import TrainConfig
from training.device import Hardware
from training.recipe import Recipe
from training.recipes.adversarial import AdversarialRecipe

RECIPES: dict[str, Callable[[TrainConfig, Family, ImageHParams, Hardware], Recipe]] = {
    "mlp": AdversarialRecipe,
    "dcgan": AdversarialRecipe,
    "conditional": AdversarialRecipe,
}
