"""Audio to latent and back: a fixed spectral basis, a causal decoder, integrated phase, noise."""
