"""Training of codec and model: one loop each, exact resume, diagnostics."""
