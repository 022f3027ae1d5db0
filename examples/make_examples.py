"""Makes the inputs in this folder: two pieces, and short examples of sounds.

    python examples/make_examples.py

The pieces are our own (CC0). The sounds are played by MuseScore General (MIT) on programs
that the default model never heard in training, and by the own synthesiser's test region.
"""

from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.effects import Effects
from timbrel.data.render.scores import draw_score
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.render.synth import Patch, render_patch
from timbrel.notes import Notes, Track

HERE = Path(__file__).parent
RATE = 44_100
BEAT = 0.5

# (beats, pitch); 0 is a rest
MELODY = (
    (1, 69), (0.5, 72), (0.5, 76), (1.5, 74), (0.5, 72), (1, 71), (1, 67), (2, 69),
    (1, 64), (0.5, 67), (0.5, 72), (1, 71), (1, 67), (1, 65), (0.5, 64), (0.5, 62), (2, 64),
    (1, 69), (0.5, 72), (0.5, 76), (1.5, 77), (0.5, 76), (1, 74), (1, 71), (1.5, 72), (0.5, 71),
    (1, 69), (1, 68), (3, 69),
)  # fmt: skip
CHORDS = (
    (57, 64, 69, 72), (53, 60, 69, 72), (48, 64, 67, 72), (55, 62, 67, 71),
    (57, 64, 69, 72), (50, 62, 65, 69), (52, 59, 64, 68), (45, 60, 64, 69),
)  # fmt: skip


def melody() -> Notes:
    """A tune of 16 s in A minor."""
    rows, beat = [], 0.0
    for index, (length, pitch) in enumerate(MELODY):
        velocity = 92 if beat % 4 == 0 else 72 + 6 * (index % 3)
        rows.append((beat * BEAT, (beat + 0.92 * length) * BEAT, pitch, velocity))
        beat += length
    return Notes.from_rows(rows, tracks=(Track("melody", 73),))


def chords() -> Notes:
    """Eight bars of broken and held chords."""
    rows = []
    for bar, chord in enumerate(CHORDS):
        start = bar * 4 * BEAT
        for voice, pitch in enumerate(chord):
            rows.append((start + voice * BEAT / 2, start + 3.8 * BEAT, pitch, 84 - 6 * voice))
        rows.append((start + 2 * BEAT, start + 3.8 * BEAT, chord[-1] + 12, 70))
    return Notes.from_rows(rows, tracks=(Track("chords", 0),))


def sound(name: str, program: int | None, seed: int, low: int, high: int, voices: int) -> None:
    """Write a 6 s example of a sound that plays a score of its own."""
    rng = np.random.default_rng(seed)
    notes = draw_score(rng, 5.0, low, high, voices, style="melody" if voices == 1 else "chords")
    if program is None:
        stereo = render_patch(Patch.draw(rng, "test"), notes, 6.0, RATE)
    else:
        path = next(p for p in find_fonts() if "MuseScore_General" in p.name)
        font = SoundFont(path)
        preset = next(p for p in font.presets() if (p.bank, p.program) == (0, program))
        stereo = font.render(preset, notes, 6.0, RATE)
    room = Effects(reverb_seconds=0.5, reverb_share=0.12, seed=seed)
    audio = Audio(room.apply(stereo, RATE), RATE).mono().with_loudness(-20.0)
    audio.write(HERE / f"{name}.flac")


def main() -> None:
    """Write every file."""
    melody().write(HERE / "melody.mid")
    chords().write(HERE / "chords.mid")
    sound("clarinet", 71, 1, 52, 76, 1)
    sound("vibraphone", 11, 2, 55, 84, 3)
    sound("trombone", 57, 3, 43, 65, 1)
    sound("reed_organ", 20, 4, 50, 80, 3)
    sound("synth", None, 9, 48, 76, 3)


if __name__ == "__main__":
    main()
