"""What can go wrong, as a small hierarchy.

Every message says what is wrong, where, and what to do. The command line prints
that one sentence and exits with code 2; `--debug` shows the traceback.
"""


class TimbrelError(Exception):
    """Base of all errors that a user can mend."""


class InputError(TimbrelError, ValueError):
    """A file or an option that cannot be used."""


class ShapeError(TimbrelError, ValueError):
    """A tensor whose shape does not fit the model."""


class ModelError(TimbrelError):
    """A model folder that is incomplete, damaged or of a newer version."""


class DataError(TimbrelError):
    """Training data that are missing, damaged or made by another codec."""


class TrainingError(TimbrelError):
    """A training run that cannot start, resume or continue."""
