"""The laboratory: adversarial training on data that are understood to the last digit, in seconds.

Known distributions in one and two dimensions, small perceptrons, and every technique of `training.duel` as a switch. The same
duel trains the picture families, so what is learned here about a switch is learned about the switch and not about a toy.
"""
