"""Ablations: recipes trained on the same data, judged by the same cases, in one table."""
