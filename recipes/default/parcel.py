"""Stores for a machine that is lent and has no network: what a model is trained on, and no more.

    python recipes/default/parcel.py pack runs/a runs/b -o parcels      # parcels/0, parcels/1 ...
    python recipes/default/parcel.py unpack parcels/0 -o stores/0       # over there

A parcel holds notes and latents of whole timbres: of 12 s 23 kB, where audio takes a megabyte.
Latents come out rounded to `STEP`, a third of their deviation: noise of `STEP` / sqrt(12), 20 dB
below them; silence comes out exact. Unpacked, it is a store without audio.
"""

import argparse
import bz2
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from timbrel.codec.codec import Codec
from timbrel.data.files import replace_file, save_npy, save_npz
from timbrel.data.joined import open_all
from timbrel.data.store import Item, Store
from timbrel.errors import TimbrelError
from timbrel.model import folder_of
from timbrel.serialize import load_codec

STEP = 0.4  # between two values that a latent may have; its deviation is about 1.2
BLOCK = 256  # items of a shard
LINE = 500  # bytes that an item takes in a manifest, at most
GRID = "grid.json"
PART = ".part"  # ends the name of a store that is not whole


def silence(codec: Codec) -> np.ndarray:
    """(channels,) float32: the latent of no sound, from which steps are counted."""
    with torch.inference_mode():
        latent = codec.encode(torch.zeros(1, 1, codec.rate))[0]
    return latent[:, latent.shape[1] // 2].float().numpy()


def shrink(latents: np.ndarray, zero: np.ndarray) -> bytes:
    """Of (items, frames, channels) float16: rounded, channel by channel, packed."""
    steps = np.rint((latents.astype(np.float32) - zero) / STEP).clip(-127, 127)
    return bz2.compress(np.ascontiguousarray(steps.astype(np.int8).transpose(2, 0, 1)).tobytes())


def unshrink(packed: bytes, shape: tuple[int, int, int], zero: np.ndarray) -> np.ndarray:
    """(items, frames, channels) float16."""
    items, frames, channels = shape
    steps = np.frombuffer(bz2.decompress(packed), np.int8).reshape(channels, items, frames)
    return (steps.transpose(1, 2, 0) * np.float32(STEP) + zero).astype(np.float16)


def blocks(store: Store) -> Iterator[list[int]]:
    """Items, whole timbres together, about `BLOCK` of them at a time."""
    block: list[int] = []
    for items in store.by_identity.values():
        block += items
        if len(block) >= BLOCK:
            yield block
            block = []
    if block:
        yield block


class Parcel:
    """A folder that is filled.

    Args:
        path: to make.
        codec: whose latents it holds.
    """

    def __init__(self, path: Path, codec: Codec) -> None:
        self.path, self.zero, self.maker = path, silence(codec), codec.latent_id
        self.items: list[Item] = []
        self.shapes: list[tuple[int, ...]] = []
        self.bytes = 30 * len(self.zero)  # of what says how to unpack it
        path.mkdir(parents=True)

    def add(self, store: Store, block: list[int], packed: bytes, shape: tuple[int, ...]) -> None:
        """Items of a store, with their shrunken latents."""
        shard = len(self.shapes)
        (self.path / f"latents-{shard}.bz2").write_bytes(packed)
        notes = [store.notes(i) for i in block]
        columns = [np.stack([n.onset, n.offset, n.pitch, n.velocity]) for n in notes]
        offsets = np.cumsum([0] + [c.shape[1] for c in columns])
        path = self.path / f"notes-{shard}.npz"
        # of 12 s, times to a microsecond
        save_npz(path, columns=np.concatenate(columns, 1).astype(np.float32), offsets=offsets)
        self.items += [
            replace(store.items[i], shard=shard, row=row, checksum=None)
            for row, i in enumerate(block)
        ]
        self.shapes.append(shape)
        self.bytes += len(packed) + path.stat().st_size + LINE * len(block)

    def close(self) -> None:
        """Write what makes it whole."""
        lines = "".join(json.dumps(asdict(item)) + "\n" for item in self.items)
        grid = {"maker": self.maker, "zero": self.zero.tolist(), "shapes": self.shapes}
        replace_file(self.path / GRID, json.dumps(grid).encode())
        replace_file(self.path / "manifest.jsonl", lines.encode())
        size = sum(file.stat().st_size for file in self.path.iterdir()) / 2**20
        print(f"{self.path}: {len(self.items)} items, {size:.1f} MiB", flush=True)


def pack(stores: list[Path], out: Path, codec: Codec, most: float) -> None:
    """Fill parcels of at most `most` MiB, out/0, out/1 and so on."""
    store = open_all(stores, "train", partial(print, flush=True))
    store.check("latents", codec.latent_id)
    parcel: Parcel | None = None
    number = 0
    zero = silence(codec)
    for block in blocks(store):
        rows = [np.asarray(store.array("latents", i)) for i in block]
        frames = max(map(len, rows))
        latents = np.stack([np.pad(r, ((0, frames - len(r)), (0, 0)), "edge") for r in rows])
        packed = shrink(latents, zero)
        size = 1.1 * len(packed) + LINE * len(block)  # a little for the notes
        if parcel is not None and parcel.bytes + size > most * 2**20:
            parcel.close()
            parcel, number = None, number + 1
        parcel = parcel or Parcel(out / f"{number}", codec)
        parcel.add(store, block, packed, latents.shape)
    if parcel is not None:
        parcel.close()


def unpack(parcel: Path, out: Path) -> None:
    """Make a store of a parcel; it appears when it is whole."""
    grid = json.loads((parcel / GRID).read_text())
    part = out.with_name(out.name + PART)
    part.mkdir(parents=True, exist_ok=True)
    for shard, shape in enumerate(grid["shapes"]):
        packed = (parcel / f"latents-{shard}.bz2").read_bytes()
        try:
            latents = unshrink(packed, tuple(shape), np.array(grid["zero"], np.float32))
        except OSError as error:  # so the library says that it is no archive; of a disk, it is not
            raise ValueError(f"{error}") from error
        save_npy(part / f"latents-{shard}.npy", latents)
        notes = f"notes-{shard}.npz"
        replace_file(part / notes, (parcel / notes).read_bytes())
    replace_file(part / "latents.json", json.dumps({"maker": grid["maker"]}).encode())
    replace_file(part / "manifest.jsonl", (parcel / "manifest.jsonl").read_bytes())
    part.rename(out)


def main() -> None:
    """Pack here, unpack there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(dest="way", required=True)
    packing = ways.add_parser("pack", help="make parcels of stores that have latents")
    packing.add_argument("stores", type=Path, nargs="+")
    packing.add_argument("-o", "--output", type=Path, required=True, help="folder of parcels")
    packing.add_argument("--codec", default="default", help="whose latents the stores have")
    packing.add_argument("--most", type=float, default=60.0, help="MiB of a parcel")
    unpacking = ways.add_parser("unpack", help="make a store of a parcel")
    unpacking.add_argument("parcel", type=Path)
    unpacking.add_argument("-o", "--output", type=Path, required=True, help="store to make")
    options = parser.parse_args()
    if options.output.exists():
        sys.exit(f"parcel.py: {options.output} is there already; give another, or remove it")
    try:
        if options.way == "pack":
            pack_all(options)
        elif not (options.parcel / "manifest.jsonl").is_file():
            sys.exit(f"parcel.py: {options.parcel} is no parcel, or not a whole one")
        else:
            unpack_one(options)
    except KeyboardInterrupt:
        sys.exit(130)
    except (TimbrelError, OSError) as error:
        sys.exit(f"parcel.py: {error}")


def pack_all(options: argparse.Namespace) -> None:
    """All parcels, or none."""
    codec = load_codec(folder_of(options.codec))
    try:
        pack(options.stores, options.output, codec, options.most)
    except BaseException:
        shutil.rmtree(options.output, ignore_errors=True)
        raise


def unpack_one(options: argparse.Namespace) -> None:
    """A parcel, or a sentence of what is the matter with it."""
    try:
        unpack(options.parcel, options.output)
    except (ValueError, EOFError, KeyError, TypeError) as error:
        sys.exit(f"parcel.py: {options.parcel} is damaged ({error!r}); send it again")


if __name__ == "__main__":
    main()
