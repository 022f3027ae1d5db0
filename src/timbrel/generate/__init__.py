"""Pieces of any length, by windows that continue each other."""
