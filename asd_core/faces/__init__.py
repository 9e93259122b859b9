"""Faces: detect, track, crop for the speaking network, align for the embedder, embed."""
