"""Does fine-tuning on a folder of recordings bring the default model nearer to their sound?

    python benchmarks/finetune.py [-o runs/finetune] [--steps 150]

Somebody's recordings are stood in for by an instrument that training never had: a held-out
preset of a held-out sound font, playing eight pieces. The commands are those of docs/training.md;
notes are transcribed, as a user has none. Both models then play six other pieces after an example
from the folder, and are judged as `timbrel evaluate` does; and what they think of the eight takes
is compared: of one instrument, their timbre vectors should be alike.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.data.render.scores import draw_score
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.render.timbres import Timbre, draw_timbres
from timbrel.evaluation.cases import LOUDNESS, RATE, Case, render
from timbrel.evaluation.run import judge
from timbrel.evaluation.systems import model_rows
from timbrel.model import Timbrel, load
from timbrel.notes import Notes

SECONDS, PIECES, ASKED = 25.0, 8, 6
PROGRAM = 71  # clarinet: held out


def instrument() -> Timbre:
    """A clarinet whose font is not among those of training."""
    fonts = [font for font in map(SoundFont, find_fonts()) if not font.free]
    for timbre in draw_timbres(5, 400, "test", fonts, Shares(synthesised=0.0, expressive=0.0)):
        if timbre.identity.endswith(f"-{PROGRAM}"):
            return timbre
    raise SystemExit("no held-out font has a clarinet; run `make fonts`")


def piece(timbre: Timbre, number: int, seconds: float) -> tuple[Audio, Notes]:
    rng = np.random.default_rng([17, number])
    notes = draw_score(rng, seconds - 1, timbre.low, timbre.high, 1)
    return render(timbre, notes, seconds), notes


def cases(timbre: Timbre, example: Audio) -> list[Case]:
    """Pieces that are not in the folder, asked for with an example from it."""
    asked = []
    for number in range(ASKED):
        truth, notes = piece(timbre, 100 + number, 8.0)
        asked.append(Case(f"piece-{number}", "clarinet", notes, notes, example, None, truth))
    return asked


def alike(player: Timbrel, recordings: list[Path]) -> float:
    """Mean cosine between the timbre vectors of recordings of one instrument."""
    vectors = torch.cat([player.timbre(path).vector for path in recordings])
    cosines = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    return float(cosines[~torch.eye(len(vectors), dtype=torch.bool)].mean())


def run(*arguments: object) -> None:
    print("timbrel", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "timbrel.cli", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    home, timbre = options.output, instrument()
    folder, store = home / "recordings", home / "store"
    if not store.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(PIECES):
            piece(timbre, number, SECONDS)[0].write(folder / f"piece{number}.wav")
        run(
            "prepare", "folder", folder, "-o", store, "--transcribe", "--split", "train",
            "--instrument", "clarinet",
        )  # fmt: skip
        run("prepare", "latents", store, "--codec", "default")
    run(
        "train", "model", "--from", "default", "--data", store, "-o", home / "run",
        "--steps", options.steps, "--rate", options.rate, "--batch", options.batch,
    )  # fmt: skip
    run(
        "train", "assemble", "--codec", "default", "--listener", "default", "--network",
        home / "run" / "model", "-o", home / "tuned", "--name", "fine-tuned",
    )  # fmt: skip
    recording = Audio.read(folder / "piece0.wav")
    example = Audio(recording.samples[:, : 6 * RATE], RATE).with_loudness(LOUDNESS)
    rows = {}
    for model in ("default", str(home / "tuned")):
        player = load(model)
        print(f"{model}: takes are {alike(player, sorted(folder.iterdir())):.2f} like each other")
        rows |= model_rows(player, "notes")
    judged = home / "judged"
    judged.mkdir(exist_ok=True)
    records = [r for c in cases(timbre, example) for r in judge(lambda c=c: c, rows, judged, set())]
    for name in rows:
        mine = [r.scores for r in records if r.system == name]
        means = {k: np.mean([s[k] for s in mine]) for k in mine[0]}
        print(
            f"{name}: note F1 {means['note_f1']:.2f}, like the truth {means['like_truth']:.2f}, "
            f"like example {means['like_example']:.2f}, dB off truth "
            f"{means['log_mel_distance']:.1f}"
        )


if __name__ == "__main__":
    main()
