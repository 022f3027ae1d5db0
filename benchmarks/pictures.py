"""Draws spectrograms with the written notes over them: the README's pictures.

python benchmarks/pictures.py out/melody_clarinet.wav examples/melody.mid docs/images/a.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.errors import TimbrelError
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.transcriber import transcribe
from timbrel.notes import Notes
from timbrel.spectra import ConstantQ


def main() -> None:
    """Draw one."""
    if len(sys.argv) != 4:
        sys.exit("pictures.py: give a recording, its MIDI file and the picture to draw")
    try:
        audio, notes = Audio.read(sys.argv[1]).mono(), Notes.read(sys.argv[2])
    except TimbrelError as error:
        sys.exit(f"pictures.py: {error}")
    if not audio.samples.size:
        sys.exit(f"pictures.py: {sys.argv[1]} holds no sound")
    samples = audio.samples[0]
    cqt = ConstantQ(audio.rate, 1024)(torch.from_numpy(samples)[None])[0].numpy()
    rate = audio.rate / 1024
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=[3, 1])
    extent = (0, cqt.shape[1] / rate, 21, 21 + 96)
    shown = 20 * np.log10(np.expm1(cqt) + 1e-3)
    above.imshow(shown, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-50)
    above.hlines(
        notes.pitch + 0.5, notes.onset, notes.offset, color="cyan", linewidth=1.2, alpha=0.8
    )
    above.set_ylabel("pitch (MIDI number)")
    scores = note_scores(notes, transcribe(samples, audio.rate))
    title = f"{Path(sys.argv[1]).stem}: constant-Q spectrum, written notes in cyan"
    above.set_title(f"{title}; note F1 {scores.f1:.2f}")
    heard = transcribe(samples, audio.rate)
    below.hlines(notes.pitch, notes.onset, notes.offset, color="0.75", linewidth=5, label="written")
    below.hlines(
        heard.pitch, heard.onset, heard.offset, color="tab:red", linewidth=1.5, label="heard"
    )
    below.set_xlabel("seconds")
    below.legend(loc="upper right", fontsize=8)
    figure.tight_layout()
    Path(sys.argv[3]).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(sys.argv[3], dpi=80)


if __name__ == "__main__":
    main()
