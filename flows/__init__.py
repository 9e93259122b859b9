"""What happens to an asset and to a library: order and policy only."""
