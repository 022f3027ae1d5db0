"""What does sampling do to what the conditions say, and at which guidance and temperature?

    python benchmarks/sampling.py default --ask 1.75,1.75,1 --ask 1.5,1.5,0.7,1.05

Cases of `midi-to-audio` with a seed of their own, so that what is chosen by them can be judged by
the protocol's. Rows: the codec's copy of the truth; the first guess (outline and recall), and
that moved towards the truth; samples with the model's steps in one window, at every guidance of
structure and timbre, temperature and texture (as it if left out) asked for. "Jitter": change of
the latent from frame to frame, as a share of the truth's.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from timbrel.audio import Audio
from timbrel.conditions.structure import Structure
from timbrel.conditions.timbre import Timbre
from timbrel.diffusion.guidance import Guidance
from timbrel.diffusion.noise import SPAN, tempered
from timbrel.diffusion.samplers import SAMPLERS
from timbrel.evaluation.cases import Case, draw_cases
from timbrel.evaluation.frechet import frechet_distance
from timbrel.evaluation.likeness import log_mel_db, log_mel_distance, pair
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.timbre_embedding import Heard, hear, similarity
from timbrel.evaluation.transcriber import transcribe
from timbrel.generate.windows import guided_velocity, structure_of_notes
from timbrel.model import Timbrel, load

SEED = 4321
COLUMNS = (
    "like example",
    "like truth",
    "note F1",
    "dB off truth",
    "identified",
    "Fréchet distance",
    "jitter",
)
Make = Callable[["Question"], Tensor]  # -> latent (1, channels, frames)


@dataclass(frozen=True, eq=False)
class Question:
    """A case as the network meets it, and what was heard in its example and its truth."""

    case: Case
    latent: Tensor  # of the truth
    example: Heard
    truth: Heard


def heard(audio: Audio) -> Heard:
    return hear(audio.mono().samples[0], audio.rate)


def questions(player: Timbrel, cases: int) -> list[Question]:
    """As many of each level."""
    from timbrel.data.render.soundfont import SoundFont, find_fonts

    protocol = replace(read_protocol("midi-to-audio"), seed=SEED)
    drawn = [draw() for draw in draw_cases(protocol, [SoundFont(p) for p in find_fonts()], cases)]
    found = []
    for case in drawn:
        assert case.truth is not None
        latent = player.codec.encode(torch.from_numpy(case.truth.samples)[:, None])
        found.append(Question(case, latent, heard(case.example), heard(case.truth)))
    return found


def conditions(player: Timbrel, question: Question) -> tuple[Structure, Timbre]:
    """Structure and timbre of a case."""
    between = structure_of_notes(player.network, question.case.notes, player.codec.frame_rate)
    structure = between(0, question.latent.shape[2])
    return structure, player.timbre(question.case.example)


def guess(player: Timbrel, question: Question, towards: float = 0.0) -> Tensor:
    """The first guess, moved by a share of the way towards the truth."""
    yes = torch.ones(1, dtype=torch.bool)
    structure, timbre = conditions(player, question)
    told = player.network.condition(structure, timbre, yes, yes)
    return torch.lerp(told.guess, question.latent, towards)


def sampled(
    player: Timbrel, guidance: Guidance, temperature: float, texture: float, question: Question
) -> Tensor:
    """What the model makes, in one window."""
    structure, timbre = conditions(player, question)
    shape = question.latent.shape
    longer = (*shape[:2], SPAN - 1 + shape[2])
    noise = torch.randn(longer, generator=torch.Generator().manual_seed(0))
    context = torch.zeros(1, 1, shape[2])
    velocity = guided_velocity(player.network, structure, timbre, context, guidance)
    chosen = player.sampling()
    return SAMPLERS[chosen.sampler](
        velocity,
        tempered(noise, temperature, texture),
        torch.zeros(shape),
        context,
        player.network.objective.schedule,
        chosen.steps,
    )


def row(player: Timbrel, asked: list[Question], make: Make) -> str:
    """Means over the cases, as cells of a table."""
    scores, outputs = [], []
    for question in asked:
        latent = make(question)
        samples = player.codec.decode(latent)[0].numpy()
        audio = Audio(samples, player.codec.rate)
        out, truth = heard(audio), question.case.truth
        assert truth is not None
        played = transcribe(audio.mono().samples[0], audio.rate)
        spectra = (log_mel_db(one) for one in pair(audio, truth))
        jitter = latent.diff(dim=2).square().mean() / question.latent.diff(dim=2).square().mean()
        outputs.append(out)
        scores.append(
            (
                similarity(out.judge, question.example.judge),
                similarity(out.judge, question.truth.judge),
                note_scores(question.case.notes, played).f1,
                log_mel_distance(*spectra),
                float(jitter),
            )
        )
    like, likewise, f1, distance, jitter = np.mean(scores, 0)
    found, wanted = (
        np.stack([h.judge / np.linalg.norm(h.judge) for h in rows])
        for rows in (outputs, [question.example for question in asked])
    )
    sounds = np.array([question.case.facts["target"] for question in asked])
    identified = float((sounds[(found @ wanted.T).argmax(1)] == sounds).mean())
    far = frechet_distance(
        np.concatenate([h.patches for h in outputs]),
        np.concatenate([question.truth.patches for question in asked]),
    )
    cells = (f"{like:.3f}", f"{likewise:.3f}", f"{f1:.3f}", f"{distance:.2f}")
    return " | ".join((*cells, f"{identified:.2f}", f"{far:.1f}", f"{jitter:.2f}"))


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--cases", type=int, default=16, help="of each level")
    parser.add_argument(
        "--ask", action="append", default=[], help="guidance, guidance, temperature, texture"
    )
    arguments = parser.parse_args()
    player = load(arguments.model, "cpu")
    asked = questions(player, arguments.cases)
    rows: dict[str, Make] = {
        "codec of the truth": lambda q: q.latent,
        "first guess": lambda q: guess(player, q),
        "0.3 of the way from it to the truth": lambda q: guess(player, q, 0.3),
        "0.6 of the way": lambda q: guess(player, q, 0.6),
    }
    for text in arguments.ask:
        structure, timbre, temperature, texture = map(
            float, [*text.split(","), text.split(",")[-1]][:4]
        )
        name = f"guidance {structure:g} and {timbre:g}, temperature {temperature:g}"
        rows[name if texture == temperature else f"{name}, texture {texture:g}"] = partial(
            sampled, player, Guidance(structure, timbre), temperature, texture
        )
    print(f"| latent | {' | '.join(COLUMNS)} |")
    print("|---" * 8 + "|")
    for name, make in rows.items():
        print(f"| {name} | {row(player, asked, make)} |", flush=True)


if __name__ == "__main__":
    main()
