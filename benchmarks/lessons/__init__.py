"""What DCGAN's paper showed of its networks (Radford et al. 2016, https://arxiv.org/abs/1511.06434), measured on ours."""
