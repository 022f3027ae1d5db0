"""Fit the linear discriminant of timbrel.evaluation.timbre_embedding, and validate it.

    python benchmarks/fit_timbre_embedding.py --font FluidR3Mono_GM.sf3 \\
        --judge TimGM6mb.sf2 --judge OPL-3_FM_128M.sf2

Fitted on FluidR3, dry and with effects, and on the synthesiser's validation region: no
generator is trained on them, but FluidR3 shares recordings with MuseScore General, on which
the default model is trained, so it knows the sounds of the "seen" rows. Validated by hard
triplets on fonts of other origin: the same preset 17 semitones away must be nearer than
every other preset playing the very same notes.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.effects import Effects
from timbrel.data.render.scores import draw_score
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.synth import Patch, render_patch
from timbrel.evaluation.timbre_embedding import DISCRIMINANT, hear

RATE = 44_100
REGISTERS = (40, 52, 64, 76)  # centres of the scores
HALF = 9  # semitones around a centre
SECONDS = 5.0
DIM = 16
SHRINK = 0.1  # share of the identity in the within-class covariance
LOWEST_PEAK = 1e-3  # below it a preset does not play there
# Presets of distinct character, and the two registers of the triplets.
JUDGED = (0, 4, 6, 9, 11, 16, 19, 21, 24, 25, 27, 32, 40, 42, 46, 48, 52, 56, 60, 61, 65, 68)
JUDGED = (*JUDGED, 71, 73, 75, 80, 81, 88, 104, 105)
JUDGED_REGISTERS = (52, 69)

Rows = Iterator[tuple[np.ndarray, str]]


def font_rows(font: SoundFont) -> Rows:
    """Presets in several registers, dry, and wet with effects of their own."""
    for preset in font.presets():
        if preset.bank or preset.program >= 119:
            continue
        wet = np.random.default_rng([33, preset.program])
        effects = Effects.draw(wet)
        for number, centre in enumerate(REGISTERS):
            low, high = max(preset.low, centre - HALF), min(preset.high, centre + HALF)
            if high - low < 10:
                continue
            dry = np.random.default_rng([21, preset.program, number])
            notes = draw_score(dry, SECONDS - 0.5, low, high, 3)
            audio = font.render(preset, notes, SECONDS)
            if np.abs(audio).max() >= LOWEST_PEAK:
                yield audio.mean(0), f"dry-{preset.program}"
            notes = draw_score(wet, SECONDS - 0.5, low, high, int(wet.choice([1, 2, 4])))
            audio = font.render(preset, notes, SECONDS)
            if preset.program < 112 and np.abs(audio).max() >= LOWEST_PEAK:
                yield effects.apply(audio, RATE).mean(0), f"wet-{preset.program}"


def patch_rows(count: int) -> Rows:
    """Patches of the synthesiser's validation region, with effects."""
    for number in range(count):
        rng = np.random.default_rng([5, number])
        patch, effects = Patch.draw(rng, "valid"), Effects.draw(rng)
        for centre in REGISTERS:
            voices = int(rng.choice([1, 3]))
            notes = draw_score(rng, SECONDS - 0.5, centre - HALF, centre + HALF, voices)
            yield effects.apply(render_patch(patch, notes, SECONDS), RATE).mean(0), f"own-{number}"


def fit(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear discriminant with shrinkage: mean (200,) and projection (200, DIM)."""
    mean = rows.mean(0)
    scale = rows.std(0) + 1e-3
    x = (rows - mean) / scale
    names, index = np.unique(labels, return_inverse=True)
    centres = np.stack([x[index == k].mean(0) for k in range(len(names))])
    inner = x - centres[index]
    within = inner.T @ inner / len(x)
    within += SHRINK * np.trace(within) / len(within) * np.eye(len(within))
    between = centres.T @ centres / len(centres)
    root = np.linalg.inv(np.linalg.cholesky(within))
    _values, vectors = np.linalg.eigh(root @ between @ root.T)
    projection = (root.T @ vectors[:, ::-1][:, :DIM]) / scale[:, None]
    return mean, projection


def triplet_rows(font: SoundFont) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, preset and register of the font's presets playing the very same notes."""
    rows, presets, registers = [], [], []
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
            rows.append(hear(audio, RATE).musicnn)
            presets.append(preset.program)
            registers.append(number)
    return np.stack(rows), np.array(presets), np.array(registers)


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=240)
    parser.add_argument("--font", type=Path, required=True)
    parser.add_argument("--judge", type=Path, action="append", default=[])
    options = parser.parse_args()
    rows, labels = [], []
    for source in (font_rows(SoundFont(options.font)), patch_rows(options.patches)):
        for audio, label in source:
            rows.append(hear(Audio(audio[None], RATE).samples[0], RATE).musicnn)
            labels.append(label)
            print(f"\r{len(rows)} sounds", end="", flush=True)
    print()
    mean, projection = fit(np.stack(rows), np.array(labels))
    np.savez_compressed(
        DISCRIMINANT, mean=mean.astype(np.float16), projection=projection.astype(np.float16)
    )
    for path in options.judge:
        vectors, presets, registers = triplet_rows(SoundFont(path))
        raw = hard_triplets(vectors, presets, registers)
        fitted = hard_triplets((vectors - mean) @ projection, presets, registers)
        print(f"{path.name}: hard triplets right, musicnn {raw:.2f}, discriminant {fitted:.2f}")


if __name__ == "__main__":
    main()
