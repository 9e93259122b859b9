"""Public evaluation protocols, each after its official scorer."""
