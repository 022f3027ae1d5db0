"""How held notes die away: the level of outputs second by second, beside true renderings.

    python benchmarks/held.py [--parts] [MODEL ...]

Instruments of two sound fonts (one that the default model learned from, one that it never met)
play a phrase of short notes, which is the example, and a chord that is held for 15 seconds, which
the model plays with it. Levels are relative to the loudest second, no lower than -50 dB; `off` is
their mean distance from those of the true rendering, over all seconds. With `--parts`, also what
each part of a model's guess makes of it, decoded alone: which part drones? For many sounds and
scores, and a verdict: `timbrel evaluate MODEL --protocol held`.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.data.render.soundfont import Preset, SoundFont, find_fonts
from timbrel.errors import TimbrelError
from timbrel.evaluation.likeness import levels_db
from timbrel.evaluation.tables import number
from timbrel.generate.windows import structure_of_notes
from timbrel.model import Timbrel, load
from timbrel.notes import Notes

FAMILIES = ("musescore", "timgm")
PROGRAMS = {  # General MIDI, from 0
    "struck or plucked": (0, 4, 6, 11, 24, 25, 32, 46),
    "sustained": (19, 48, 56, 71, 73),
}
SECONDS, RATE = 16, 44_100
PHRASE = (48, 55, 60, 64, 67, 72, 64, 60)
CHORD = (48, 60, 64)
HELD = (0.5, 15.5)
SHOWN = (1, 3, 6, 12)  # seconds whose levels are printed


def instruments(
    fonts: list[SoundFont], programs: tuple[int, ...]
) -> list[tuple[SoundFont, Preset]]:
    """Those of the programs that the fonts have."""
    return [
        (font, preset)
        for font in fonts
        for preset in font.presets()
        if preset.bank == 0 and preset.program in programs and not preset.drums
    ]


def played(player: Timbrel, notes: Notes, example: Audio) -> np.ndarray:
    """(SECONDS * RATE,) of a model."""
    samples: np.ndarray = player.render(notes, example, length=SECONDS).mono().samples[0]
    return samples


@torch.inference_mode()
def guessed(player: Timbrel, notes: Notes, example: Audio) -> Iterator[tuple[str, np.ndarray]]:
    """What each part of a model's guess adds, decoded: (name, (SECONDS * RATE,))."""
    network, codec = player.network, player.codec
    frames, window = round(SECONDS * codec.frame_rate), network.config.window
    between = structure_of_notes(network, notes, codec.frame_rate)
    whole, yes = player.timbre(example), torch.ones(1, dtype=torch.bool)
    parts = {
        "outline": replace(whole, memory=None, closer=None),
        "and recall": replace(whole, closer=None),
        "and refinement": whole,
    }
    for name, timbre in parts.items():
        guesses = [
            network.condition(between(k, min(k + window, frames)), timbre, yes, yes).guess
            for k in range(0, frames, window)
        ]
        samples = codec.decode(torch.cat(guesses, 2))[0].mean(0).numpy()
        yield name, np.pad(samples, (0, max(0, SECONDS * RATE - len(samples))))


def curves(
    players: dict[str, Timbrel], asked: list[tuple[SoundFont, Preset]], parts: bool
) -> dict[str, np.ndarray]:
    """Who plays -> (sounds, SECONDS) levels in dB; the font first."""
    phrase = Notes.from_rows([(0.75 * k, 0.75 * k + 0.7, p, 90) for k, p in enumerate(PHRASE)])
    chord = Notes.from_rows([(*HELD, pitch, 90) for pitch in CHORD])
    rows: dict[str, list[np.ndarray]] = {}
    for font, preset in asked:
        truth = font.render(preset, chord, SECONDS).mean(0)
        sound = font.render(preset, phrase, 7).mean(0)
        example = Audio(sound[None].astype(np.float32), RATE)
        heard = [("the font", truth)]
        for name, player in players.items():
            if parts:
                heard += [(f"{name}: {n}", s) for n, s in guessed(player, chord, example)]
            heard.append((name, played(player, chord, example)))
        for name, samples in heard:
            rows.setdefault(name, []).append(levels_db(samples[: SECONDS * RATE]))
    return {name: np.stack(found) for name, found in rows.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="How held notes die away.")
    parser.add_argument("models", nargs="*", default=["default"], metavar="MODEL")
    parser.add_argument("--parts", action="store_true", help="each part of a guess as well")
    options = parser.parse_args()
    found = [SoundFont(path) for path in find_fonts()]
    fonts = [f for f in found if any(name in f.path.name.lower() for name in FAMILIES)]
    if not fonts:
        sys.exit("held.py: no sound font was found; see `make fonts`")
    players = {name: load(name) for name in options.models}
    print("| sounds | played by | " + " | ".join(f"{s} s" for s in SHOWN) + " | off, dB |")
    print("|---" * (len(SHOWN) + 3) + "|")
    for kind, programs in PROGRAMS.items():
        asked = instruments(fonts, programs)
        if not asked:
            print(f"no {kind} sounds in {', '.join(f.path.name for f in fonts)}", file=sys.stderr)
            continue
        rows = curves(players, asked, options.parts)
        true = rows["the font"]
        for name, levels in rows.items():
            shown = [number(float(levels[:, s].mean()), 0) for s in SHOWN]
            off = np.abs(levels - true).mean()
            print(f"| {kind} ({len(true)}) | {name} | {' | '.join(shown)} | {off:.1f} |")


if __name__ == "__main__":
    try:
        main()
    except TimbrelError as error:  # a font, or what renders it, is missing or damaged
        sys.exit(f"held.py: {error}")
