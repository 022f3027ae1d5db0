"""How far the judges of whole pieces can be trusted, on rendered pieces whose answer is known.

python benchmarks/judges.py            # two pieces of 20 s in each style, with all fonts found
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.ensembles import Mix, draw_ensemble, render_mix
from timbrel.data.render.pieces import Piece, draw_piece
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.render.styles import STYLES
from timbrel.data.render.timbres import Timbre
from timbrel.evaluation.beats import beat_f1, beats_any_level
from timbrel.evaluation.cases import LOUDNESS, RATE, pool
from timbrel.evaluation.drums import drum_onset_f1, hits
from timbrel.evaluation.hearing import Hearing, listen
from timbrel.evaluation.notes_metrics import note_scores, velocity_f1
from timbrel.notes import Notes

SECONDS, EACH = 20.0, 2
SOFTEST, LOUDEST = 30, 126  # velocities of the lead alone


def pieces(timbres: list[Timbre]) -> list[tuple[Piece, Mix]]:
    """Some of each style, played."""
    made = []
    for number, style in enumerate(STYLES):
        for k in range(EACH):
            rng = np.random.default_rng([2026, number, k])
            piece = draw_piece(rng, SECONDS - 1, style)
            made.append((piece, render_mix(piece, draw_ensemble(rng, timbres, style), SECONDS)))
    return made


def heard(samples: np.ndarray) -> Hearing:
    return listen(Audio(samples, RATE).mono().with_loudness(LOUDNESS))


def report(what: str, values: list[float]) -> None:
    print(f"| {what} | {np.mean(values):.2f} | {len(values)} |")


def main() -> None:
    fonts = [SoundFont(path) for path in find_fonts()]
    timbres = pool("seen-seen", fonts) + pool("seen-seen", fonts, drums=True)
    numbers: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        numbers.setdefault(what, []).append(value)

    for piece, mix in pieces(timbres):
        sound, beats = heard(mix.mix), np.arange(0, SECONDS - 1, 60 / piece.tempo)
        kit = "with drums" if "drums" in mix.stems else "without drums"
        note(f"beat F1, {kit}", beat_f1(beats, sound.beats))
        note(f"beats at any level, {kit}", beats_any_level(beats, sound.beats))
        if "drums" in mix.stems:
            struck = hits(piece.notes)
            note("drum onset F1", drum_onset_f1(struck, sound.hits))
            rest = heard(mix.mix - mix.stems["drums"])
            note("drum onset F1, the drums taken out", drum_onset_f1(struck, rest.hits))
    velocities(timbres, note)
    print("| | mean | pieces |\n|---|---|---|")
    for what in sorted(numbers):
        report(what, numbers[what])


def velocities(timbres: list[Timbre], note: Callable[[str, float], None]) -> None:
    """A lead alone, its velocities drawn evenly."""
    for k in range(EACH * len(STYLES)):
        rng = np.random.default_rng([2027, k])
        part: Notes = draw_piece(rng, 9.0, list(STYLES)[k % len(STYLES)]).parts["lead"]
        part = replace(
            part, velocity=rng.integers(SOFTEST, LOUDEST + 1, len(part)).astype(np.int16)
        )
        able = [t for t in timbres if not t.drums and t.low <= part.pitch.min()]
        timbre = able[int(rng.integers(len(able)))]
        notes = heard(timbre.render(part, 10.0, RATE)).notes
        shuffled = replace(notes, velocity=rng.permutation(notes.velocity))
        note("note F1 of a lead", note_scores(part, notes).f1)
        note("velocity F1 of a lead", velocity_f1(part, notes))
        note("velocity F1 of a lead, shuffled", velocity_f1(part, shuffled))


if __name__ == "__main__":
    main()
