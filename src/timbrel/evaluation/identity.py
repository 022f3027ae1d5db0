"""What makes two evaluations the same: short hashes of what is judged, by whom, in which cases."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from timbrel.evaluation.given import FILES, read_manifest
from timbrel.evaluation.packaged import SHA256


def content_id(folder: Path, names: Iterable[str]) -> str:
    """Short hash of what the files of a folder that are there hold, and of their names."""
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        if (folder / name).is_file():
            digest.update(name.encode() + b"\0")
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:12]


def weights_id(model: str) -> str:
    """Short hash of a model's weights, and of how it samples.

    Raises:
        ModelError: there is no model.
    """
    from timbrel.model import folder_of
    from timbrel.serialize import read_config

    folder = folder_of(model)
    read_config(folder)
    return content_id(folder, ["config.json", *(p.name for p in folder.glob("*.safetensors"))])


def judges_id() -> str:
    """Short name of the judges, of what their weights hold: numbers of others mean other things."""
    return hashlib.sha256("".join(SHA256.values()).encode()).hexdigest()[:12]


def manifest_id(path: Path) -> str:
    """Short hash of a manifest and of all files that it names, wherever they lie.

    Raises:
        InputError: not a manifest.
    """
    named = [str(row[key]) for row in read_manifest(path) for key in FILES if row.get(key)]
    return content_id(path.parent, [path.name, *named])


def outputs_id(folder: Path, manifest: Path) -> str:
    """Short hash of the files in a folder that a manifest asks for.

    Raises:
        InputError: not a manifest.
    """
    return content_id(folder, [str(row["output"]) for row in read_manifest(manifest)])


def store_id(path: Path) -> str:
    """Short hash of a store: of its list of items, with their checksums."""
    return content_id(path, ["manifest.jsonl"])
