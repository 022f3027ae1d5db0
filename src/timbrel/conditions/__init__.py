"""What steers the denoiser: timbre encoder, structure encoders, and the adversary between them."""
