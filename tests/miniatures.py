"""Miniatures of the field's data sets: two pieces of the own synthesiser in each layout.

`LAYOUTS[source](folder)` writes one without faults; tests then add theirs.
"""

import csv
import json
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import yaml

from timbrel.data.render.scores import draw_score
from timbrel.data.render.synth import Patch, render_patch
from timbrel.data.sources import source
from timbrel.data.sources.recording import Recording, Skipped
from timbrel.notes import Notes

SECONDS = (26.0, 16.0)  # of the two pieces: three passages, and two
RATE = 22_050  # of most files: everything is resampled


@lru_cache
def piece(number: int, rate: int = RATE) -> tuple[np.ndarray, Notes]:
    """Samples (2, n) and notes of one of the two pieces."""
    rng = np.random.default_rng(100 + number)
    patch = Patch.draw(rng)
    # a slow attack has no onset that could be compared with the notes
    while patch.kind != ("plucked", "hollow")[number] or patch.attack > 0.02:
        patch = Patch.draw(rng)
    seconds = SECONDS[number]
    # notes from beginning to end: a drawn score may stop early
    scores = [draw_score(rng, 4.0, 52, 76, 2, "melody") for _ in range(int(seconds // 4))]
    rows = [
        (float(a) + 4 * k, float(b) + 4 * k, int(p), int(v))
        for k, s in enumerate(scores)
        for a, b, p, v in zip(s.onset, s.offset, s.pitch, s.velocity, strict=True)
    ]
    notes = Notes.from_rows(rows)
    return render_patch(patch, notes, seconds, rate), notes


def write_audio(path: Path, number: int, rate: int = RATE, channels: int = 1) -> None:
    """One of the pieces as a file; its level is its own, so that no two files are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    level = 0.5 + 0.4 * zlib.crc32("/".join(path.parts[-3:]).encode()) / 2**32
    soundfile.write(path, level * piece(number, rate)[0][:channels].T, rate)


def write_midi(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    piece(number)[1].write(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def folder(root: Path) -> None:
    write_audio(root / "with notes.wav", 0, channels=2)
    write_midi(root / "with notes.MID", 0)
    write_audio(root / "Björk 日本" / "alone.flac", 1, rate=48_000)


def slakh_track(track: Path, suffix: str = "flac") -> None:
    """One track with a stem of each piece."""
    stems = {}
    for number, stem in enumerate(("S00", "S01")):
        write_audio(track / "stems" / f"{stem}.{suffix}", number)
        write_midi(track / "MIDI" / f"{stem}.mid", number)
        stems[stem] = {
            "audio_rendered": True,
            "midi_saved": True,
            "inst_class": ("Guitar", "Reed")[number],
            "is_drum": False,
            "plugin_name": f"plugin{number}.nkm",
            "program_num": (24, 71)[number],
        }
    about = {"UUID": "x", "audio_dir": "stems", "midi_dir": "MIDI", "stems": stems}
    write_text(track / "metadata.yaml", yaml.safe_dump(about))


def slakh(root: Path) -> None:
    """Redux."""
    home = root / "slakh2100_flac_redux"
    slakh_track(home / "train" / "Track00001")
    slakh_track(home / "test" / "Track01876")


def maestro(root: Path) -> None:
    columns = ("canonical_composer", "canonical_title", "split", "year", "midi_filename",
               "audio_filename", "duration")  # fmt: skip
    home = root / "maestro-v3.0.0"
    rows = []
    for number, split in enumerate(("train", "validation")):
        name = f"20{number:02d}/Étude {number}"
        write_audio(home / f"{name}.wav", number, channels=2)
        write_midi(home / f"{name}.midi", number)
        rows.append(("Frédéric Chopin", f"Étude, Op. {number}", split, f"20{number:02d}",
                     f"{name}.midi", f"{name}.wav", SECONDS[number]))  # fmt: skip
    with open(home / "maestro-v3.0.0.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def guitarset(root: Path) -> None:
    for number, take in enumerate(("00_BN1-129-Eb_comp", "05_Jazz2-110-A#_solo")):
        write_audio(root / "audio_mono-mic" / f"{take}_mic.wav", number)
        write_audio(root / "audio_mono-pickup_mix" / f"{take}_mix.wav", number, rate=16_000)
        notes = piece(number)[1]
        strings = [
            {
                "namespace": "note_midi",
                "data": [
                    {"time": a, "duration": b - a, "value": int(p) + 0.2, "confidence": None}
                    for a, b, p in zip(notes.onset, notes.offset, notes.pitch, strict=True)
                    if p % 2 == string
                ],
            }
            for string in range(2)
        ]
        beats = {"namespace": "beat_position", "data": []}
        write_text(
            root / "annotation" / f"{take}.jams", json.dumps({"annotations": [beats, *strings]})
        )


def urmp(root: Path) -> None:
    for number, (title, code) in enumerate((("01_Jupiter", "vn"), ("05_Entertainer", "tpt"))):
        home = root / "Dataset" / f"{title}_{code}"
        stem = f"1_{code}_{title}"
        write_audio(home / f"AuSep_{stem}.wav", number, rate=48_000)
        write_audio(home / f"AuMix_{title}_{code}.wav", number)
        notes = piece(number)[1]
        lines = [
            f"{a:.6f}\t{440 * 2 ** ((int(p) - 69) / 12):.3f}\t{b - a:.6f}"
            for a, b, p in zip(notes.onset, notes.offset, notes.pitch, strict=True)
        ]
        write_text(home / f"Notes_{stem}.txt", "\n".join(lines))


def musicnet(root: Path) -> None:
    home = root / "musicnet"
    metadata = "id,composer,composition,movement,ensemble,source\n"
    for number, split in enumerate(("train", "test")):
        name = ("1727", "2303")[number]
        write_audio(home / f"{split}_data" / f"{name}.wav", number, rate=44_100)
        notes = piece(number)[1]
        lines = ["start_time,end_time,instrument,note,start_beat,end_beat,note_value"]
        lines += [
            f"{round(a * 44_100)},{round(b * 44_100)},{41 + k % 2},{p},0,1,Quarter"
            for k, (a, b, p) in enumerate(zip(notes.onset, notes.offset, notes.pitch, strict=True))
        ]
        write_text(home / f"{split}_labels" / f"{name}.csv", "\n".join(lines))
        metadata += f"{name},Schubert,Piano Quintet,{number}. Allegro,Piano Quintet,Museum\n"
    write_text(home / "musicnet_metadata.csv", metadata)


def nsynth(root: Path) -> None:
    samples = piece(0, 16_000)[0][0]
    instruments = {
        "train": "guitar_acoustic_000",
        "valid": "synth_lead_synthetic_011",
        "test": "synth_lead_synthetic_011",
    }
    for split, instrument in instruments.items():
        home = root / f"nsynth-{split}"
        (home / "audio").mkdir(parents=True)
        for number in range(4):
            start = (4 * list(instruments).index(split) + number) * 16_000
            name = f"{instrument}-{50 + number:03d}-{25 * (number + 1):03d}.wav"
            soundfile.write(home / "audio" / name, samples[start : start + 64_000], 16_000)
        write_text(home / "examples.json", "{}")


def medleydb(root: Path) -> None:
    for number, title in enumerate(("ArtistA_Song", "ArtistB_Song")):
        home = root / "Audio" / title
        stems = {}
        for stem, instrument in (("S01", "violin"), ("S02", ["drum set", "tambourine"])):
            name = f"{title}_STEM_{stem[1:]}.wav"
            write_audio(home / f"{title}_STEMS" / name, number, channels=2)
            stems[stem] = {"filename": name, "instrument": instrument, "component": ""}
            number = 1 - number
        about = {"artist": "A", "title": title, "has_bleed": "no", "stems": stems}
        # version 1 keeps metadata beside the song, version 2 apart
        place = (home, root / "Metadata")[title == "ArtistB_Song"]
        write_text(place / f"{title}_METADATA.yaml", yaml.safe_dump(about))


LAYOUTS = {
    "folder": folder,
    "slakh": slakh,
    "maestro": maestro,
    "guitarset": guitarset,
    "urmp": urmp,
    "musicnet": musicnet,
    "nsynth": nsynth,
    "medleydb": medleydb,
}


def read_source(name: str, root: Path) -> tuple[dict[str, Recording], dict[str, str]]:
    """What a reader finds: recordings, and reasons why others are left out, by name."""
    entries = list(source(name).read(root))
    recordings = {e.name: e for e in entries if isinstance(e, Recording)}
    return recordings, {e.name: e.reason for e in entries if isinstance(e, Skipped)}
