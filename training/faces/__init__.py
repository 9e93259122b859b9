"""The face detector: boxes and five points. See docs/models/rollcall-face.md."""
