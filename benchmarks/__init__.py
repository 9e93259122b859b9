"""Measurements that anyone can repeat: speed, accuracy beside the reference recipe, and thresholds."""
