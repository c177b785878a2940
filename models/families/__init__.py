"""Every GAN family, one line each. To add one: write its file here and its recipe in `training/recipes`."""

from models.errors import UnknownFamilyError
from models.families import conditional, cyclegan, dcgan, infogan, inpaint, mlp, pix2pix, progressive, semi, srgan
from models.family import Family

FAMILIES: dict[str, Family] = {
    "mlp": mlp.FAMILY,
    "dcgan": dcgan.FAMILY,
    "conditional": conditional.FAMILY,
    "infogan": infogan.FAMILY,
    "progressive": progressive.FAMILY,
    "semi": semi.FAMILY,
    "srgan": srgan.FAMILY,
    "pix2pix": pix2pix.FAMILY,
    "cyclegan": cyclegan.FAMILY,
    "inpaint": inpaint.FAMILY,
}


def family_named(name: str) -> Family:
    """The family of that name. Raises `UnknownFamilyError`, which lists the names there are."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise UnknownFamilyError(f"there is no family '{name}'; this build has: {', '.join(FAMILIES)}") from None
