"""Pages for people: the library, an asset with its video, and everybody who appears."""
