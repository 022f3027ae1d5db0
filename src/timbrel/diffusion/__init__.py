"""The denoiser, its objective, guidance and samplers."""
