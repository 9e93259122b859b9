"""Stages: one file for each row of the line, the thin layer between the core and its surroundings."""
