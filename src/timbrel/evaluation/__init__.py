"""Judges that had no part in training: a transcriber, note metrics, a timbre embedding."""
