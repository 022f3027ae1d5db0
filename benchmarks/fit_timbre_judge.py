"""Fit the network of timbrel.evaluation.timbre_judge, and ask judges hard questions.

    timbrel prepare render -o runs/sounds --count 3840 --split train --seed 501 --hybrids 0.6
    python benchmarks/fit_timbre_judge.py --data runs/sounds --steps 6000 \\
        --font TimGM6mb.sf2 --font OPL-3_FM_128M.sf2

(How the one that comes with timbrel was made: docs/decisions/0030-timbre-judge.md.) To be fitted
on renditions of other seeds than any generator's. Each sound plays two passages, which
must be told from those of all other sounds of a step; sounds that play the same notes are drawn
together. Asked of fonts that no judge and no generator was trained on: is the same preset 17
semitones away nearer than every other preset playing the very same notes? Without --steps the
judge that comes with timbrel is asked, and musicnn beside it.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from timbrel.audio import Audio
from timbrel.data.render.scores import draw_score
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.store import Store
from timbrel.evaluation import timbre_embedding, timbre_judge
from timbrel.evaluation.packaged import FOLDER
from timbrel.evaluation.timbre_judge import PATCH, TimbreJudge, levelled

RATE = 44_100
HALF = 9  # semitones around the centre of a score
SECONDS = 5.0
# Presets of distinct character, and the two registers of the triplets.
JUDGED = (
    0, 4, 6, 9, 11, 16, 19, 21, 24, 25, 27, 32, 40, 42, 46, 48, 52, 56, 60, 61, 65, 68, 71, 73, 75,
    80, 81, 88, 104, 105,
)  # fmt: skip
JUDGED_REGISTERS = (52, 69)
SCORES = 20  # in a step, each played by all sounds that have it
TEMPERATURE = 0.07
LEARNING_RATE = 2e-3
EACH = 250  # steps between two reports, at which the weights are saved
QUIET_DB = 30.0  # a passage this far below its rendition's loudest is not asked about

Embed = Callable[[Audio], np.ndarray]


class Sounds:
    """Spectra of the renditions of stores, and who plays what in them."""

    def __init__(self, stores: list[Store]) -> None:
        self.mels: list[np.ndarray] = []
        self.names: list[tuple[int, str]] = []  # the sound of each
        self.rivals: list[list[int]] = []  # sounds that play the same notes
        self.passages: dict[tuple[int, str], list[int]] = {}  # of each sound
        for number, store in enumerate(stores):
            begin = len(self.mels)
            self.rivals += [[begin + k for k in v] for v in store.by_score.values()]
            for index, item in enumerate(store.items):
                self.names.append((number, item.identity))
                self.passages.setdefault(self.names[-1], []).append(begin + index)
                audio = Audio(store.audio(index)[None], item.rate)
                self.mels.append(timbre_judge.spectrum(audio).astype(np.float16))
                print(f"\r{len(self.mels)} sounds", end="", flush=True)
        print()

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two passages of each of some sounds: (n, PATCH, MELS) twice."""
        chosen: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
        for group in rng.choice(len(self.rivals), min(SCORES, len(self.rivals)), replace=False):
            place = rng.random()  # the same for all, so that they play the same notes
            for index in self.rivals[group]:
                name = self.names[index]
                others = [k for k in self.passages[name] if k != index] or [index]
                pair = (
                    self._patch(index, place),
                    self._patch(int(rng.choice(others)), rng.random()),
                )
                if name not in chosen and all(p is not None for p in pair):
                    chosen[name] = pair  # type: ignore[assignment]
        first, second = zip(*chosen.values(), strict=True)
        return np.stack(first), np.stack(second)

    def _patch(self, index: int, place: float) -> np.ndarray | None:
        mel = self.mels[index].astype(np.float32)
        start = int(place * (len(mel) - PATCH + 1))
        patch = mel[start : start + PATCH]
        if patch.max() < mel.max() - QUIET_DB:
            return None
        # as heard alone, and as a part of the whole: both happen
        return levelled(patch if place < 0.5 else mel)[0 if place < 0.5 else start :][:PATCH]


def fit(sounds: Sounds, steps: int, report: Callable[[TimbreJudge], str]) -> None:
    """Train by the symmetric contrast of both passages (InfoNCE, van den Oord et al., 2018)."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    judge = TimbreJudge()
    optimiser = torch.optim.AdamW(judge.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps, pct_start=0.05)
    losses: list[float] = []
    for step in range(steps):
        first, second = sounds.draw(rng)
        with torch.autocast("cpu", torch.bfloat16):
            a, b = judge(torch.from_numpy(np.concatenate([first, second]))).chunk(2)
        alike = a.float() @ b.float().T / TEMPERATURE
        own = torch.arange(len(alike))
        loss = (cross_entropy(alike, own) + cross_entropy(alike.T, own)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % EACH == 0 or step + 1 == steps:
            print(f"{step + 1}: loss {np.mean(losses[-EACH:]):.3f}, {report(judge)}", flush=True)
            state = {k: v.half().contiguous() for k, v in judge.state_dict().items()}
            save_file(state, FOLDER / timbre_judge.WEIGHTS)


def triplet_sounds(font: SoundFont) -> Iterator[tuple[Audio, int, int]]:
    """The font's presets playing the very same notes: sound, preset, register."""
    reach = JUDGED_REGISTERS[0] - HALF, JUDGED_REGISTERS[-1] + HALF
    for preset in font.presets():
        if preset.bank or preset.program not in JUDGED:
            continue
        if preset.low > reach[0] or preset.high < reach[1]:
            continue
        for number, centre in enumerate(JUDGED_REGISTERS):
            rng = np.random.default_rng([11, number])
            notes = draw_score(rng, SECONDS - 0.5, centre - HALF, centre + HALF, 3)
            audio = font.render(preset, notes, SECONDS).mean(0)
            yield Audio(audio[None], RATE), preset.program, number


def hard_triplets(vectors: np.ndarray, presets: np.ndarray, registers: np.ndarray) -> float:
    """Share of triplets in which the same preset is nearer than the same notes."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    right: list[bool] = []
    for a in range(len(unit)):
        rivals = np.nonzero((presets != presets[a]) & (registers == registers[a]))[0]
        for b in np.nonzero((presets == presets[a]) & (registers != registers[a]))[0]:
            right += list(cosine[a, b] > cosine[a, rivals])
    return float(np.mean(right))


def main() -> None:
    """Fit if asked to, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--font", type=Path, action="append", default=[])
    options = parser.parse_args()
    asked = {path.name: list(triplet_sounds(SoundFont(path))) for path in options.font}

    def share(name: str, embed: Embed) -> float:
        audios, presets, registers = zip(*asked[name], strict=True)
        rows = np.stack([embed(audio) for audio in audios])
        return hard_triplets(rows, np.array(presets), np.array(registers))

    def report(judge: TimbreJudge) -> str:
        judge.eval()
        shares = [
            share(name, lambda a: judge.hear(timbre_judge.spectrum(a)).mean(0)) for name in asked
        ]
        judge.train()
        return " ".join(f"{s:.3f}" for s in shares)

    if options.steps:
        sounds = Sounds([Store.open(path) for path in options.data])
        fit(sounds, options.steps, report)
        path = FOLDER / timbre_judge.WEIGHTS
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path} is written; put {digest} for it into evaluation/packaged.py")
        return
    for name in asked:
        raw = share(name, lambda a: timbre_embedding.hear(a.samples[0], a.rate).musicnn)
        own = share(name, lambda a: timbre_judge.embed(a).mean(0))
        print(f"{name}: hard triplets right, musicnn {raw:.2f}, judge {own:.2f}")


if __name__ == "__main__":
    main()
