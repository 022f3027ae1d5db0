"""Do windows show where they join? Change from frame to frame at the joins, and elsewhere.

    python benchmarks/seams.py [MODEL]

A piece is made in windows that continue each other. If a join could be heard, the latent, or the
spectrum of the audio, would change there more than elsewhere. Joins fall on fixed frames and scores
are drawn, so notes begin at a join no more often than anywhere else. Spectral flux is the sum over
frequencies of what became louder from one frame to the next; it is also given with the magnitudes
compressed by a logarithm, which hears clicks and changes of timbre in what is soft.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from timbrel.data.render.scores import draw_score
from timbrel.evaluation.statistics import mean_interval
from timbrel.generate.windows import generate, structure_of_notes, windows
from timbrel.model import Timbrel, load
from timbrel.notes import Notes

SECONDS = 60.0
SCORES = 4  # of each example
EXAMPLES = Path(__file__).parents[1] / "examples"
N_FFT = 2048
LOUDEST = 1e3  # magnitudes are compressed as log(1 + 1000 times what they are over the largest)
MEASURES = ("latent", "flux", "log flux")


def made(player: Timbrel, notes: Notes, example: Path) -> torch.Tensor:
    """(1, channels, frames): the latent of a piece."""
    rate = player.codec.frame_rate
    structure = structure_of_notes(player.network, notes, rate)
    frames = round(SECONDS * rate)
    timbre = player.timbre(example)
    return torch.cat(
        list(generate(player.network, structure, frames, timbre, player.sampling())), 2
    )


def changes(player: Timbrel, latent: torch.Tensor) -> dict[str, np.ndarray]:
    """(frames - 1,) each: how much latent and sound change from each frame to the next."""
    weight = player.network.channel_weight[:, None]
    moved = (latent.diff(dim=2).square() * weight).mean(1).sqrt()[0]
    with torch.no_grad():
        samples = player.codec.decode(latent)[0].mean(0)
    hop = player.codec.hop
    magnitude = torch.stft(
        samples, N_FFT, hop, window=torch.hann_window(N_FFT), return_complex=True
    ).abs()[:, : latent.shape[2] + 1]
    compressed = torch.log1p(LOUDEST * magnitude / magnitude.max())
    # spectrum k is centred where frame k begins: around the start of frame k + 1, sound changes
    # from spectrum k to k + 2
    flux, log_flux = (
        (part[:, 2:] - part[:, :-2]).clamp_min(0).sum(0)[: len(moved)]
        for part in (magnitude, compressed)
    )
    return dict(zip(MEASURES, (x.numpy() for x in (moved, flux, log_flux)), strict=True))


def main() -> None:
    player = load(sys.argv[1] if len(sys.argv) > 1 else "default", "cpu")
    config = player.network.config
    spans = windows(round(SECONDS * player.codec.frame_rate), config.window, config.context)
    # the change into the first frame that a window adds to the one before
    joins = [start + given - 1 for start, given, _ in spans if given]
    heads = [f"{name} at joins, over that elsewhere (95 %)" for name in MEASURES]
    print("| example | " + " | ".join(heads) + " | joins |\n|---|---|---|---|---|")
    every: dict[str, list[float]] = {name: [] for name in MEASURES}
    for example in sorted(EXAMPLES.glob("*.flac")):
        ratios: dict[str, list[float]] = {name: [] for name in MEASURES}
        for number in range(SCORES):
            notes = draw_score(np.random.default_rng(number), SECONDS, 48, 84, 3)
            for name, change in changes(player, made(player, notes, example)).items():
                ratios[name] += list(change[joins] / np.delete(change, joins).mean())
        print(_line(example.stem, ratios), flush=True)
        for name in MEASURES:
            every[name] += ratios[name]
    print(_line("all", every))


def _line(name: str, ratios: dict[str, list[float]]) -> str:
    cells = []
    for values in ratios.values():
        mean, low, high = mean_interval(values)
        cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})")
    return f"| {name} | " + " | ".join(cells) + f" | {len(ratios['latent'])} |"


if __name__ == "__main__":
    main()
