"""Measurements of generated pictures that need no network: features and labels come from classifiers trained here.

Inception-based scores need a download, and say little about pictures of another domain (FD-DINOv2 and clean-fid's papers
tell why). Each measurement here comes with its floor, the same number for real pictures, without which it means nothing.
"""
