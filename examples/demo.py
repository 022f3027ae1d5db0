"""The first command of the README: renders the examples with the default model into out/."""

import time
from pathlib import Path

import timbrel

HERE = Path(__file__).parent
OUT = HERE.parent / "out"
# (what to play, with what sound, name)
PIECES = (
    ("melody.mid", "clarinet.flac", "melody_clarinet"),
    ("melody.mid", "trombone.flac", "melody_trombone"),
    ("chords.mid", "vibraphone.flac", "chords_vibraphone"),
    ("chords.mid", "synth.flac", "chords_synth"),
    ("clarinet.flac", "vibraphone.flac", "clarinet_to_vibraphone"),
)


def main() -> None:
    """Render, and say where the files are and how long it took."""
    began = time.monotonic()
    OUT.mkdir(exist_ok=True)
    player = timbrel.load()
    seconds = 0.0
    for structure, sound, name in PIECES:
        audio = player.render(HERE / structure, HERE / sound)
        path = OUT / f"{name}.wav"
        audio.write(path)
        seconds += audio.seconds
        print(f"{path.relative_to(OUT.parent)}  {structure} with the sound of {sound}")
    took = time.monotonic() - began
    print(f"{seconds:.0f} s of audio in {took:.0f} s, the start included")


if __name__ == "__main__":
    main()
