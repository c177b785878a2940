"""The contract between training and serving: families, latents, manifests, checkpoints.

Everything that both sides must agree on lives here and nowhere else. This package imports neither `app` nor `training`.
"""
