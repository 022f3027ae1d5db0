"""Styles of pieces: what each role plays in them, and on which instruments.

A pattern says, sixteenth by sixteenth, what begins: `.` nothing (what sounds goes on), `-`
silence, and by role

* bass: `r` the root, `f` the fifth above, `o` the octave above, `w` any chord tone, `a` a
  semitone from the next root;
* chords and pad: `x` the chord, a digit one of its tones from below;
* drums: `x` a stroke.

Patterns repeat; most are one bar long.
"""

from dataclasses import dataclass

from timbrel.data.render.phrases import LENGTH_ODDS

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
DORIAN, MIXOLYDIAN = (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10)
HARMONIC_MINOR = (0, 2, 3, 5, 7, 8, 11)

# General MIDI families (program // 8)
PIANO, CHROMATIC, ORGAN, GUITAR, BASS, STRINGS, ENSEMBLE = range(7)
BRASS, REED, PIPE, SYNTH_LEAD, SYNTH_PAD, _, ETHNIC = range(7, 14)


@dataclass(frozen=True)
class Style:
    """A genre: tempi, harmony, the patterns of its roles, and their instruments."""

    tempo: tuple[float, float]  # beats per minute
    scales: tuple[tuple[int, ...], ...]
    progressions: tuple[tuple[int, ...], ...]  # a degree of the scale for each bar
    families: dict[str, tuple[int, ...]]  # General MIDI families of each pitched role
    bass: tuple[str, ...]  # one is drawn
    chords: tuple[str, ...]
    pad: tuple[str, ...] = ("x...............",)
    drums: tuple[tuple[str, ...], ...] = ()  # for each piece of a kit; none: no drums
    kit: int = 0  # of `KITS`
    beats: int = 4  # in a bar
    tones: int = 3  # of a chord: a triad, or a seventh
    swing: float = 0.0  # how much longer the first half of a beat is than half a beat, share
    loose: float = 0.006  # seconds: standard deviation of onsets
    lead: tuple[float, ...] = LENGTH_ODDS  # odds of the lengths of its notes

    @property
    def roles(self) -> tuple[str, ...]:
        """All of them; drums come last."""
        return (*self.families, "drums") if self.drums else tuple(self.families)


STYLES = {
    "rock": Style(
        tempo=(100, 155),
        scales=(MAJOR, MINOR, MIXOLYDIAN, DORIAN),
        progressions=((0, 4, 5, 3), (0, 3, 4, 4), (0, 6, 3, 0), (5, 3, 0, 4)),
        families={
            "bass": (BASS,),
            "chords": (GUITAR, ORGAN),
            "lead": (GUITAR, SYNTH_LEAD, ORGAN),
            "pad": (ORGAN, ENSEMBLE),
        },
        bass=("r.r.r.r.r.r.r.r.", "r...r.r.r...f.a.", "r..r..r.r..r..r."),
        chords=("x...x.x.x...x.x.", "x.x.x.x.x.x.x.x.", "x.....x...x....."),
        drums=(
            (
                "x.......x.x.....",
                "....x.......x...",
                "x.x.x.x.x.x.x.x.",
                "",
                "x" + 63 * ".",
                58 * "." + "x.x.x.",
            ),
            (
                "x..x......x.....",
                "....x.......x..x",
                "x...x...x...x...",
                "..............x.",
                "",
                "",
            ),
        ),
    ),
    "ballad": Style(
        tempo=(58, 88),
        scales=(MAJOR, MINOR),
        progressions=((0, 5, 3, 4), (0, 4, 5, 3), (0, 2, 3, 4), (5, 3, 0, 4)),
        families={
            "bass": (BASS,),
            "chords": (PIANO, GUITAR),
            "lead": (REED, PIPE, STRINGS, PIANO),
            "pad": (ENSEMBLE, SYNTH_PAD),
        },
        bass=("r.......f.......", "r.........r.a..."),
        chords=("0.1.2.3.2.1.2.1.", "x...x...x...x...", "x.......0.1.2.1."),
        drums=(
            ("x.........x.....", "........x.......", "x...x...x...x...", "", 64 * ".", ""),
            ("x.......x.......", "....x.......x...", "x.x.x.x.x.x.x.x.", "", "", ""),
        ),
        tones=4,
        loose=0.01,
        lead=(0.05, 0.25, 0.35, 0.1, 0.15, 0.1),
    ),
    "techno": Style(
        tempo=(118, 140),
        scales=(MINOR, DORIAN),
        progressions=((0, 0, 0, 0), (0, 0, 5, 6), (0, 5, 3, 4), (0, 2, 6, 5)),
        families={
            "bass": (BASS, SYNTH_LEAD),
            "chords": (SYNTH_LEAD, SYNTH_PAD, PIANO),
            "lead": (SYNTH_LEAD,),
            "pad": (SYNTH_PAD, ENSEMBLE),
        },
        bass=("..r...r...r...r.", "r.rr.rr.r.rr.ro.", "r--r--r-r--r--o-"),
        chords=("x..x..x...x..x..", "..x-..x-..x-..x-", "0121012101210121"),
        drums=(
            (
                "x...x...x...x...",
                "....x.......x...",
                "..x...x...x...x.",
                "..x...x...x...x.",
                "",
                "",
            ),
            (
                "x...x...x...x...",
                "............x..x",
                "xxxxxxxxxxxxxxxx",
                "..x...x...x...x.",
                "",
                "",
            ),
        ),
        loose=0.0,
        lead=(0.45, 0.35, 0.15, 0.05, 0.0, 0.0),
    ),
    "swing": Style(
        tempo=(105, 190),
        scales=(MAJOR, DORIAN, MIXOLYDIAN),
        progressions=((1, 4, 0, 0), (0, 5, 1, 4), (2, 5, 1, 4), (0, 3, 0, 4)),
        families={
            "bass": (BASS,),
            "chords": (PIANO, GUITAR),
            "lead": (REED, BRASS, CHROMATIC),
            "pad": (BRASS, ORGAN, ENSEMBLE),
        },
        bass=("r...w...w...a...", "r...f...w...a..."),
        chords=("x.....x-........", "......x-......x-", "x-..x-..x-..x-.."),
        pad=("x.......--------", "----------x....."),
        drums=(
            (
                "x...............",
                "......x.......x.",
                "....x.......x...",
                "",
                "x...x.x.x...x.x.",
                "",
            ),
            (
                "x...x...x...x...",
                "..............x.",
                "....x.......x...",
                "",
                "x...x.x.x...x.x.",
                "",
            ),
        ),
        kit=1,
        tones=4,
        swing=1 / 3,
        loose=0.01,
        lead=(0.05, 0.5, 0.25, 0.1, 0.05, 0.05),
    ),
    "latin": Style(
        tempo=(88, 132),
        scales=(MINOR, DORIAN, MAJOR, HARMONIC_MINOR),
        progressions=((1, 4, 0, 0), (0, 3, 4, 0), (0, 0, 4, 4), (0, 5, 1, 4)),
        families={
            "bass": (BASS,),
            "chords": (PIANO, GUITAR, CHROMATIC),
            "lead": (BRASS, REED, PIPE),
            "pad": (ENSEMBLE, BRASS),
        },
        bass=("r.....f.....o...", "r.....f.r.....f.", "r..f..o.r..f..a."),
        chords=("x..x..x...x..x..", "0.3.1.3.0.31.3.1", "..x..x.x..x..x.x"),
        drums=(
            (
                "x.....x.x.....x.",
                "x..x..x...x.x...",
                "x.x.x.x.x.x.x.x.",
                "",
                "",
                "............x.x.",
            ),
            ("x..x..x.x..x..x.", "..x..x....x..x..", "xxxxxxxxxxxxxxxx", "", "", ""),
        ),
        tones=4,
        loose=0.008,
    ),
    "chamber": Style(
        tempo=(66, 126),
        scales=(MAJOR, HARMONIC_MINOR, MINOR),
        progressions=((0, 3, 4, 0), (0, 5, 1, 4), (0, 4, 0, 4), (0, 1, 4, 0)),
        families={
            "bass": (STRINGS,),
            "chords": (STRINGS, PIANO, ENSEMBLE),
            "lead": (STRINGS, REED, PIPE),
            "pad": (STRINGS, ENSEMBLE),
        },
        bass=("r...........", "r...w...a...", "r---w---w---"),
        chords=("0.1.2.1.2.1.", "----x-..x-..", "x..........."),
        pad=("x...........",),
        beats=3,
        loose=0.012,
        lead=(0.1, 0.3, 0.35, 0.1, 0.1, 0.05),
    ),
    "ambient": Style(
        tempo=(55, 80),
        scales=(MAJOR, DORIAN, MINOR),
        progressions=((0, 3), (0, 5, 3, 4), (0, 0, 3, 3), (5, 3)),
        families={
            "bass": (BASS, SYNTH_PAD),
            "chords": (PIANO, CHROMATIC, GUITAR),
            "lead": (PIPE, CHROMATIC, SYNTH_LEAD),
            "pad": (SYNTH_PAD, ENSEMBLE),
        },
        bass=("r...............",),
        chords=("0.1.2.3.1.2.3.2.", "0...2...1...3..."),
        tones=4,
        loose=0.01,
        lead=(0.0, 0.1, 0.3, 0.15, 0.25, 0.2),
    ),
}
