"""Scores, instruments and effects, from which training data are rendered."""
