"""Whether files of models and judges are what was once written, and what to do if not."""

import hashlib
from pathlib import Path

from timbrel.errors import ModelError

PACKAGE = Path(__file__).resolve().parent


def check_digest(path: Path, sha256: str) -> None:
    """Refuse a file that is not what was written.

    Raises:
        ModelError: it is missing, cannot be read or holds something else.
    """
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing; {cure(path)}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); {cure(path)}") from error
    if found != sha256:
        raise ModelError(f"{path} is damaged: its bytes are not what was saved; {cure(path)}")


def cure(path: Path, elsewhere: str = "copy the model again") -> str:
    """How to get a missing or damaged file back, as the end of a sentence.

    Args:
        path: of the file.
        elsewhere: what to do if it is none of those that come with timbrel.
    """
    if not path.resolve().is_relative_to(PACKAGE):
        return elsewhere
    folder = path.resolve().parent.relative_to(PACKAGE).as_posix()
    return (
        "it comes with timbrel: `pip install --force-reinstall` of what you installed it from "
        f"brings it back, in a clone of the repository `git checkout -- src/timbrel/{folder}`"
    )
