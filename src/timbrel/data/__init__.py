"""Training data: rendered or read, stored, and paired."""
