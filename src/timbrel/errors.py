"""What can go wrong, as a small hierarchy.

Every message says what is wrong, where, and what to do. The command line prints
that one sentence and exits with code 2; `--debug` shows the traceback.
"""


class TimbrelError(Exception):
    """Base of all errors that a user can mend."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error says that the machine's memory, or its GPU's, was too small."""
    # what torch raises where a processor's memory ends has no type of its own
    named = "can't allocate memory" in str(error) and isinstance(error, RuntimeError)
    return named or isinstance(error, MemoryError) or is_lack_of_gpu_memory(error)


def is_lack_of_gpu_memory(error: BaseException) -> bool:
    """Whether it was the GPU's. (Its type is not imported: torch takes a second.)"""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    # of CUDA itself and its libraries
    said = str(error) if isinstance(error, RuntimeError) else ""
    return "CUDA error: out of memory" in said or "_ALLOC_FAILED" in said


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
