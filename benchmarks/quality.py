"""Are the intended notes heard, and does the timbre move? Prints the table of docs/results.md.

    python benchmarks/quality.py [--model DIR] [--cases 20] [--seconds 8] [--wavs DIR]

Every case is a score that no model was trained on, played with the timbre of an example
that plays another score. "Seen" timbres are those of training (MuseScore General and the
synthesiser's training region), "unseen" ones recordings of other origin (TimGM6mb, OPL-3,
held-out programs, the synthesiser's test region). The judges had no part in training.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import timbrel
from timbrel.audio import Audio
from timbrel.data.render.scores import draw_score
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.render.timbres import Timbre, draw_timbres
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.timbre_embedding import embed, similarity
from timbrel.evaluation.transcriber import transcribe
from timbrel.notes import Notes

RATE = 44_100
TRAIN_SEED, TRAIN_TIMBRES, TRAIN_SYNTH_SHARE = 1, 800, 0.35  # of the default model's store


@dataclass(frozen=True)
class Case:
    """One question: play `notes` like `example`."""

    notes: Notes
    truth: Audio  # the exactly right answer
    example: Audio  # the target's timbre, another score
    source: Audio  # the notes, another timbre


def render(timbre: Timbre, notes: Notes, seconds: float) -> Audio:
    """Mono, at the loudness of training."""
    return Audio(timbre.render(notes, seconds, RATE), RATE).mono().with_loudness(-23.0)


def cases(split: str, count: int, seconds: float, fonts: list[SoundFont]) -> list[Case]:
    """Cases of a split, always the same ones."""
    if split == "train":
        timbres = draw_timbres(TRAIN_SEED, TRAIN_TIMBRES, split, fonts, TRAIN_SYNTH_SHARE)
    else:
        timbres = draw_timbres(99, 200, split, fonts, 0.2)
    timbres = [t for t in timbres if not t.drums]
    rng = np.random.default_rng([2026, split == "train"])
    made: list[Case] = []
    while len(made) < count:
        target, source = (timbres[int(i)] for i in rng.choice(len(timbres), 2, replace=False))
        low, high = max(target.low, 40), min(target.high, 90)
        if high - low < 12:
            continue
        voices = int(rng.choice([1, 2, 4]))
        notes = draw_score(rng, seconds - 1, low, high, voices)
        other = draw_score(rng, 5.0, low, high, voices)
        if len(notes) < 8:
            continue
        made.append(
            Case(
                notes=notes,
                truth=render(target, notes, seconds),
                example=render(target, other, 6.0),
                source=render(source, notes, seconds),
            )
        )
    return made


def interval(values: list[float]) -> str:
    """Mean with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    draws = rng.choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})"


@lru_cache(maxsize=1000)
def vector_of(audio: Audio) -> np.ndarray:
    """Timbre embedding."""
    return embed(audio.samples[0], RATE)


def row(name: str, outputs: list[Audio], questions: list[Case]) -> str:
    """One line of the table."""
    scores, example, source, nearer = [], [], [], []
    for audio, case in zip(outputs, questions, strict=True):
        scores.append(note_scores(case.notes, transcribe(audio.samples[0], RATE)))
        vector = vector_of(audio)
        example.append(similarity(vector, vector_of(case.example)))
        source.append(similarity(vector, vector_of(case.source)))
        nearer.append(float(example[-1] > source[-1]))
    columns = [
        name,
        interval([s.f1 for s in scores]),
        interval([s.pitch_class_f1 for s in scores]),
        f"{np.mean([s.octave_error_rate for s in scores]):.3f}",
        f"{np.mean(example):.2f}",
        f"{np.mean(source):.2f}",
        f"{np.mean(nearer):.2f}",
    ]
    return "| " + " | ".join(columns) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--cases", type=int, default=20, help="per split")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-timbre", type=float)
    parser.add_argument("--guidance-structure", type=float)
    parser.add_argument("--wavs", type=Path, help="also write the outputs here")
    options = parser.parse_args()
    player = timbrel.load(options.model)
    fonts = [SoundFont(path) for path in find_fonts() if "FluidR3" not in path.name]

    def reconstruct(audio: Audio) -> Audio:
        with torch.inference_mode():
            latent = player.codec.encode(torch.from_numpy(audio.samples)[None])
            return Audio(player.codec.decode(latent)[0].numpy()[:, : audio.samples.shape[1]], RATE)

    def play(structure: Callable[[Case], Notes | Audio]) -> Callable[[Case], Audio]:
        return lambda case: player.render(
            structure(case),
            case.example,
            length=options.seconds,
            steps=options.steps,
            guidance_timbre=options.guidance_timbre,
            guidance_structure=options.guidance_structure,
        )

    systems: dict[str, Callable[[Case], Audio]] = {
        "ground truth": lambda case: case.truth,
        "codec of the ground truth": lambda case: reconstruct(case.truth),
        "source, untouched": lambda case: case.source,
        "**Timbrel, from MIDI**": play(lambda case: case.notes),
    }
    if player.listener is not None:
        systems["**Timbrel, from audio**"] = play(lambda case: case.source)
    for split, title in (("train", "Seen timbres"), ("test", "Unseen recordings")):
        questions = cases(split, options.cases, options.seconds, fonts)
        print(f"\n{title}, {len(questions)} unseen scores\n")
        print(
            "| | note F1 | pitch-class F1 | octave errors "
            "| like example | like source | nearer to example |"
        )
        print("|---|---|---|---|---|---|---|")
        for name, system in systems.items():
            outputs = [system(case) for case in questions]
            print(row(name, outputs, questions), flush=True)
            if options.wavs:
                options.wavs.mkdir(parents=True, exist_ok=True)
                for number, audio in enumerate(outputs):
                    word = name.strip("*").replace(" ", "_").replace(",", "")
                    audio.write(options.wavs / f"{split}_{number:02d}_{word}.wav")


if __name__ == "__main__":
    main()
