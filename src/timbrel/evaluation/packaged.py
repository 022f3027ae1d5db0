"""The judges' weights, which come with timbrel."""

from pathlib import Path

from timbrel.checksum import check_digest

FOLDER = Path(__file__).parent / "weights"
SHA256 = {  # a judge that is fitted anew has another
    "basic_pitch.onnx": "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    "musicnn.npz": "c99702663827536a3811c88cfd022f0cc9876aa4b695155c366c63736871a3e8",
    "timbre_judge.safetensors": "9e86a18afaeb55cab36980ba70ae5f7bacfe706b43a46c449f2ebc9f8d452250",
}


def whole(name: str) -> Path:
    """Where the weights of that name lie.

    Raises:
        ModelError: the file is missing or damaged.
    """
    check_digest(FOLDER / name, SHA256[name])
    return FOLDER / name


def check_judges() -> None:
    """Find out before the work whether every judge can be used.

    Raises:
        ModelError: a file is missing or damaged.
    """
    for name in SHA256:
        whole(name)
