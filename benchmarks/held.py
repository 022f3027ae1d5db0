"""How held notes die away: the level of outputs second by second, beside true renderings.

    python benchmarks/held.py [MODEL ...]

Instruments of two sound fonts (one that the default model learned from, one that it never met)
play a phrase of short notes, which is the example, and a chord that is held for 15 seconds, which
the model plays with it. Levels are relative to the loudest second, no lower than -50 dB; `off` is
their mean distance from those of the true rendering, over all seconds.
"""

import sys

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.soundfont import Preset, SoundFont, find_fonts
from timbrel.errors import TimbrelError
from timbrel.evaluation.tables import number
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
FLOOR = -50.0  # dB
SHOWN = (1, 3, 6, 12)  # seconds whose levels are printed


def levels(samples: np.ndarray) -> np.ndarray:
    """(SECONDS,) dB from the loudest second on, which is 0."""
    whole = samples[: SECONDS * RATE].reshape(SECONDS, RATE)
    found = 10 * np.log10(np.square(whole).mean(1) + 1e-12)
    relative: np.ndarray = np.maximum(found - found.max(), FLOOR)
    return relative


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


def main() -> None:
    """Print a table."""
    found = [SoundFont(path) for path in find_fonts()]
    fonts = [f for f in found if any(name in f.path.name.lower() for name in FAMILIES)]
    if not fonts:
        sys.exit("held.py: no sound font was found; see `make fonts`")
    players = {name: load(name) for name in sys.argv[1:] or ["default"]}
    phrase = Notes.from_rows([(0.75 * k, 0.75 * k + 0.7, p, 90) for k, p in enumerate(PHRASE)])
    chord = Notes.from_rows([(*HELD, pitch, 90) for pitch in CHORD])
    print("| sounds | played by | " + " | ".join(f"{s} s" for s in SHOWN) + " | off, dB |")
    print("|---" * (len(SHOWN) + 3) + "|")
    for kind, programs in PROGRAMS.items():
        rows: dict[str, list[np.ndarray]] = {"the font": [], **{name: [] for name in players}}
        asked = instruments(fonts, programs)
        if not asked:
            print(f"no {kind} sounds in {', '.join(f.path.name for f in fonts)}", file=sys.stderr)
            continue
        for font, preset in asked:
            example, truth = (
                font.render(preset, notes, seconds).mean(0)
                for notes, seconds in ((phrase, 7), (chord, SECONDS))
            )
            rows["the font"].append(levels(truth))
            for name, player in players.items():
                rows[name].append(levels(played(player, chord, example)))
        true = np.stack(rows["the font"])
        for name, curves in rows.items():
            mean, off = np.mean(curves, 0), np.abs(np.stack(curves) - true).mean()
            shown = [number(float(mean[s]), 0) for s in SHOWN]
            print(f"| {kind} ({len(true)}) | {name} | {' | '.join(shown)} | {off:.1f} |")


def played(player: Timbrel, notes: Notes, example: np.ndarray) -> np.ndarray:
    """(SECONDS * RATE,) of a model."""
    sound = Audio(example[None].astype(np.float32), RATE)
    audio = player.render(notes, sound, length=SECONDS)
    samples: np.ndarray = audio.mono().samples[0]
    return samples


if __name__ == "__main__":
    try:
        main()
    except TimbrelError as error:  # a font, or what renders it, is missing or damaged
        sys.exit(f"held.py: {error}")
