"""Training of the weights that ship with Rollcall: one folder a role, the runs under out/training. Nothing in the product imports this."""
