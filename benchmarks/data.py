"""How fast data are made and read, and how well notes and audio agree: the table of docs/data.md.

    python benchmarks/data.py

Times are processor seconds of one process. Alignment is measured on the miniatures of
tests/miniatures.py, so it shows what reading, cutting and resampling do, not how well a data
set was annotated.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from miniatures import LAYOUTS
from timbrel.data.ingest import prepare
from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.render.effects import Effects
from timbrel.data.render.expression import Manner
from timbrel.data.render.inspection import usable
from timbrel.data.render.plan import draw_plan
from timbrel.data.render.renditions import play, render_store
from timbrel.data.render.scores import draw_score
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.store import Store
from timbrel.evaluation.transcriber import transcribe
from timbrel.model import DEFAULT
from timbrel.notes import Notes
from timbrel.serialize import load_codec
from timbrel.training.latents import attach_latents

RATE, HOP = 44_100, 1_024
CROP = 128 * HOP  # samples, what training reads
RECORDED = 0.3  # share of timbres heard through a recording chain, as by default
REACH = 0.06  # seconds around a note in which its onset is looked for


def core_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def reading(folder: Path) -> None:
    """Random crops and training items from a store in the page cache."""
    render_store(folder, 0, 128, "train", [])
    store = Store.open(folder)
    frames = -(-store.items[0].length // HOP)
    silence = np.zeros((frames, 96), np.float16)
    store.attach("latents", "x", lambda items: (silence for _ in items))
    rng = np.random.default_rng(0)
    count = 5_000
    places = [(int(rng.integers(128)), int(rng.integers(400_000 - CROP))) for _ in range(count)]

    def crops() -> None:
        for index, start in places:
            store.audio(index, start, CROP)

    crops()
    print(f"| random crops of 3 s from a store | {count / core_seconds(crops):,.0f} a second |")
    pairs = Pairs(store, RATE / HOP, 128, 128, 0, Corruption())
    took = core_seconds(lambda: [pairs.draw(16, rng) for _ in range(20)])
    print(f"| training items (latents, roll, example) | {320 / took:,.0f} a second |")


def rendering() -> None:
    """Sources alone, then all that a store's renditions go through."""
    fonts = [usable(SoundFont(path)) for path in find_fonts()]
    for name, share, modelled in (
        ("the synthesiser", 1.0, 0.0),
        ("sound fonts", 0.0, 0.0),
        ("modelled instruments", 1.0, 1.0),
    ):
        if share == 0 and not fonts:
            continue
        shares = Shares(synthesised=share, recorded=RECORDED, modelled=modelled)
        plan = draw_plan(0, 60, "train", fonts, shares)
        pitched = [timbre for timbre in plan.timbres if not timbre.drums]
        plain = [replace(t, effects=Effects(), manner=Manner(), recording=None) for t in pitched]
        notes = [draw_score(np.random.default_rng(k), 11.0, 48, 80, 3) for k in range(len(plain))]
        [t.render(n, 0.1) for t, n in zip(plain, notes, strict=True)]  # fonts are loaded
        dry = core_seconds(
            lambda p=plain, n=notes: [t.render(k, 12.0) for t, k in zip(p, n, strict=True)]
        )
        full = core_seconds(lambda p=plan: [play(p, k) for k in range(60)])
        print(f"| render with {name}, dry | {12 * len(plain) / dry:.0f} s of audio a second |")
        print(
            "| ... with score, manner, effects, recording, level | "
            f"{12 * 60 / full:.0f} s of audio a second |"
        )
    pieces = draw_plan(0, 24, "train", fonts, Shares(recorded=RECORDED, mixes=1.0))
    for ensemble in pieces.ensembles:
        for timbre in ensemble.players.values():
            timbre.render(Notes.empty(), 0.1)
    took = core_seconds(lambda: [play(pieces, k) for k in range(24)])
    print(f"| ... whole pieces, 3 to 5 tracks each | {12 * 24 / took:.0f} s of audio a second |")


def preparing(folder: Path) -> None:
    """Twelve minutes of stereo recordings; an hour is five times that."""
    (folder / "in").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for rate in (44_100, 48_000):
        noise = 0.1 * rng.standard_normal((360 * rate, 2))
        soundfile.write(folder / "in" / f"{rate}.flac", noise, rate)
    plain = core_seconds(lambda: prepare("folder", folder / "in", folder / "plain"))
    print(f"| prepare 1 h of recordings (`folder`, stereo FLAC) | {5 * plain:.0f} s |")
    heard = core_seconds(lambda: prepare("folder", folder / "in", folder / "heard", transcribe))
    print(f"| ... with `--transcribe` | {5 * heard:.0f} s |")
    store, codec = Store.open(folder / "plain"), load_codec(DEFAULT)
    encoded = core_seconds(lambda: attach_latents(store, codec, torch.device("cpu")))
    print(f"| latents of 1 h with the default codec | {encoded / store.hours:.0f} s |")


def onset_offsets(store: Store) -> np.ndarray:
    """Seconds by which onsets in the audio are later than the notes say, (notes,)."""
    offsets = []
    for index in range(len(store)):
        audio, notes = store.audio(index), store.notes(index)
        for onset, pitch in zip(notes.onset, notes.pitch, strict=True):
            near = (np.abs(notes.onset - onset) < 2 * REACH) & (notes.pitch % 12 == pitch % 12)
            first = round((onset - 2 * REACH) * RATE)
            piece = audio[max(first, 0) : first + round(4 * REACH * RATE)]
            if near.sum() == 1 and first >= 0 and len(piece) == round(4 * REACH * RATE):
                offsets.append(_rise(piece, 440 * 2 ** ((pitch - 69) / 12)) - 2 * REACH)
    return np.array(offsets)


def _rise(piece: np.ndarray, hz: float) -> float:
    """When (seconds) a pitch grows fastest, by its first three partials."""
    time_axis = np.arange(len(piece)) / RATE
    window = np.hanning(round(0.02 * RATE))
    strength = np.zeros(len(piece))
    for partial in (1, 2, 3):
        turned = piece * np.exp(-2j * np.pi * partial * hz * time_axis)
        strength += np.abs(np.convolve(turned, window, "same"))
    growth = np.diff(strength)
    inside = slice(round(REACH * RATE), round(3 * REACH * RATE))
    return (inside.start + int(np.argmax(growth[inside]))) / RATE


def alignment(folder: Path) -> None:
    """The sources whose miniatures have notes."""
    print("\n| source | notes | median | 95 % of offsets within |\n|---|---|---|---|")
    for name, write in LAYOUTS.items():
        write(folder / name)
        prepare(name, folder / name, folder / f"{name}-store")
        store = Store.open(folder / f"{name}-store")
        # single notes are cut out of a melody: they do not begin where they are said to
        if name == "nsynth" or all(item.notes == "none" for item in store.items):
            continue
        offsets = 1_000 * onset_offsets(store)
        bound = np.percentile(np.abs(offsets), 95)
        print(f"| {name} | {len(offsets)} | {np.median(offsets):+.1f} ms | {bound:.1f} ms |")


def main() -> None:
    print("| what | measured |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        reading(Path(folder) / "read")
        rendering()
        preparing(Path(folder) / "prepare")
        alignment(Path(folder) / "align")


if __name__ == "__main__":
    main()
