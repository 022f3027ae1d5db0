"""Latents of any length, by windows of which each goes on from the one before.

The last frames of a window are given, clean, as the context of the next: the denoiser was
trained to continue them, so there is no seam to hide and no cross-fade. Memory is one
window, whatever the length of the piece.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from timbrel.conditions.structure import CqtEncoder, RollEncoder, Structure
from timbrel.conditions.timbre import Timbre
from timbrel.diffusion.guidance import FEW_STEP_GUIDANCE, Guidance, combine
from timbrel.diffusion.noise import SPAN, tempered, white
from timbrel.diffusion.samplers import SAMPLERS, Velocity
from timbrel.diffusion.unet import Shortcut
from timbrel.errors import InputError
from timbrel.network import Network
from timbrel.notes import Notes
from timbrel.roll import roll

# Frames that are read before a window, so that notes that ring are known: 3 s.
RUN_IN = 128
FEW_STEPS = 4  # of a few-step model, if nothing else is said; 1 / 2 ** n are what it learns
StructureBetween = Callable[[int, int], Structure]  # between two frames


@dataclass(frozen=True)
class Sampling:
    """How to sample."""

    steps: int = 6  # evaluations of the denoiser per window
    guidance: Guidance = field(default_factory=Guidance)
    seed: int = 0
    sampler: str = "euler"  # one of SAMPLERS
    temperature: float = (
        1.0  # of the noise that lasts; below 1 outputs are nearer to what is expected
    )
    texture: float | None = None  # of the noise that changes fast; None: as the temperature


def sampling_of(
    options: Mapping[str, Any], most_steps: int | None = None, seed: int = 0
) -> Sampling:
    """How to sample a model.

    Args:
        options: steps, sampler, structure and timbre (guidance scales), temperature, texture; those
            that are not given have defaults.
        most_steps: of a denoiser that answers for whole steps (`UNetConfig.most_steps`); its
            sampler is Euler's, which takes the answer as it is. None: of one that does not.
        seed: of the noise.

    Raises:
        InputError: an option that such a model cannot do.
    """
    few_step = most_steps is not None
    default = Sampling.steps if most_steps is None else min(FEW_STEPS, most_steps)
    steps = _whole("steps", options.get("steps", default))
    if most_steps is not None and (steps & (steps - 1) or not 1 <= steps <= most_steps):
        learned = [str(2**n) for n in range(most_steps.bit_length())]
        raise InputError(f"steps is {steps}; this few-step model takes {', '.join(learned)}")
    seed = _whole("seed", seed)
    if not 1 <= steps <= 1000:
        raise InputError(f"steps is {steps}; give a whole number from 1 to 1000")
    guidance = Guidance(
        float(options.get("structure", Guidance.structure)),
        float(options.get("timbre", Guidance.timbre)),
    )
    least, most = FEW_STEP_GUIDANCE if few_step else (0, 20)
    for name, value in (("structure", guidance.structure), ("timbre", guidance.timbre)):
        if not least <= value <= most:
            raise InputError(
                f"guidance-{name} is {value}; this model takes numbers from {least:g} to {most:g}"
            )
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; give a whole number from 0 to 2^63 - 1")
    samplers = ["euler"] if few_step else list(SAMPLERS)
    sampler = options.get("sampler", Sampling.sampler)
    if sampler not in samplers:
        raise InputError(f"sampler is '{sampler}'; this model takes {', '.join(samplers)}")
    temperature = float(options.get("temperature", Sampling.temperature))
    texture = float(options.get("texture", temperature))
    for name, value in (("temperature", temperature), ("texture", texture)):
        if not 0 <= value <= 2:
            raise InputError(f"{name} is {value}; give a number from 0 to 2")
    return Sampling(steps, guidance, seed, sampler, temperature, texture)


def _whole(name: str, value: Any) -> int:
    """A whole number, numpy's too.

    Raises:
        InputError: it is none.
    """
    try:
        return operator.index(value)
    except TypeError as error:
        raise InputError(f"{name} is {value}; give a whole number") from error


def windows(frames: int, window: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Cover `frames` frames: (start, given, stop) of every window.

    Frames `start` to `start + given` repeat what the window before has made.
    """
    start, given = 0, 0
    while True:
        stop = min(start + window, frames)
        yield start, given, stop
        if stop == frames:
            return
        start, given = stop - context, context


def guided_velocity(
    network: Network, structure: Structure, timbre: Timbre, context: Tensor, guidance: Guidance
) -> Velocity:
    """The denoiser under guidance; only branches with a factor are computed, in one batch.

    A few-step denoiser has guidance folded in and needs one branch.

    Args:
        network: trained.
        structure: of one item.
        timbre: of one example.
        context: (1, 1, frames) mask of given frames.
        guidance: scales.
    """
    few_step = network.config.denoiser.few_step
    branches = Guidance(1, 1).branches() if few_step else guidance.branches()
    count = len(branches)
    present = torch.tensor([[s, t] for s, t, _ in branches], device=timbre.vector.device)
    conditions = network.condition(
        structure.expand(count), timbre.expand(count), present[:, 0], present[:, 1]
    )
    masks = context.expand(count, -1, -1)

    def velocity(x: Tensor, time: Tensor, size: Tensor) -> Tensor:
        if few_step:
            scales = (torch.full_like(size, s) for s in (guidance.structure, guidance.timbre))
            return network.denoiser(x, time, conditions, masks, Shortcut(size, *scales))
        batch = x.expand(count, -1, -1)
        out = network.denoiser(batch, time.expand(count), conditions, masks)
        return combine(out[:, None], guidance)

    return velocity


def structure_of_rolls(
    network: Network, roll_between: Callable[[int, int], Tensor], drums: bool = False
) -> StructureBetween:
    """Structure from notes, for `generate`.

    Args:
        network: with a roll encoder.
        roll_between: gives the roll (3, 128, stop - start) between two frames; the first
            may be negative (nothing sounds there).
        drums: whether pitches name drums.
    """
    encoder = network.structure_encoder
    if not isinstance(encoder, RollEncoder):
        raise TypeError("this network reads audio, not notes")
    device = network.no_timbre.device
    flag = torch.tensor([drums], device=device)

    def between(start: int, stop: int) -> Structure:
        return encoder(roll_between(start - RUN_IN, stop)[None].to(device), flag).after(RUN_IN)

    return between


def structure_of_notes(network: Network, notes: Notes, frame_rate: float) -> StructureBetween:
    """Structure of notes, for `generate`; drums if there is nothing else.

    Args:
        network: with a roll encoder.
        notes: written, or heard.
        frame_rate: of the codec, in Hz.
    """

    def roll_between(start: int, stop: int) -> Tensor:
        part = notes.cut(start / frame_rate, stop / frame_rate)
        return torch.from_numpy(roll(part, frame_rate, stop - start, ages=True))

    return structure_of_rolls(network, roll_between, drums=len(notes.pitched()) == 0)


def structure_of_audio(network: Network, samples: Tensor) -> StructureBetween:
    """Structure from audio, for `generate`; beyond its end there is silence.

    Args:
        network: with a constant-Q encoder.
        samples: (1, n) at the codec's rate, about as loud as in training (-23 LUFS).
    """
    encoder, cqt = network.structure_encoder, network.cqt
    if not isinstance(encoder, CqtEncoder) or cqt is None:
        raise TypeError("this network reads notes, not audio")
    hop = network.config.codec.hop
    margin = -(-cqt.n_fft // hop) * hop  # samples: whole frames

    def between(start: int, stop: int) -> Structure:
        # what is left of the first frame: the encoder's past, and half an analysis window
        first = (start - RUN_IN) * hop - margin
        last = stop * hop + margin
        piece = samples[:, max(first, 0) : max(last, 0)]
        left = max(-first, 0)
        piece = F.pad(piece, (left, last - first - left - piece.shape[1]))
        spectrum = cqt(piece)[..., margin // hop :]
        return encoder(spectrum).between(RUN_IN, RUN_IN + stop - start)

    return between


@torch.inference_mode()
def generate(
    network: Network,
    structure_between: StructureBetween,
    frames: int,
    timbre: Timbre,
    sampling: Sampling,
) -> Iterator[Tensor]:
    """Latents of a piece, window by window.

    Args:
        network: trained.
        structure_between: gives what is played between two frames, see `structure_of_rolls`
            and `structure_of_audio`.
        frames: length of the piece.
        timbre: of one example.
        sampling: steps, guidance, seed, temperature, texture.

    Yields:
        (1, latent_channels, n): consecutive frames, `frames` in all.
    """
    device = timbre.vector.device
    config = network.config
    channels = config.codec.channels
    source = torch.Generator(device="cpu").manual_seed(sampling.seed)
    temperature = sampling.temperature
    texture = temperature if sampling.texture is None else sampling.texture
    # frame f of the piece gets the same noise however the windows fall
    drawn = white(channels, SPAN - 1, source)
    made = torch.zeros(1, channels, 0, device=device)
    for start, given, stop in windows(frames, config.window, config.context):
        structure = structure_between(start, stop)
        length = stop - start
        fresh = white(channels, length - given, source)
        drawn = torch.cat([drawn[:, :, drawn.shape[2] - given - SPAN + 1 :], fresh], 2)
        noise = tempered(drawn, temperature, texture)
        context = torch.zeros(1, 1, length, device=device)
        context[:, :, :given] = 1
        before = torch.zeros(1, channels, length, device=device)
        before[:, :, :given] = made[:, :, made.shape[2] - given :]
        velocity = guided_velocity(network, structure, timbre, context, sampling.guidance)
        made = SAMPLERS[sampling.sampler](
            velocity,
            noise.to(device),
            before,
            context,
            network.objective.schedule,
            sampling.steps,
        )
        yield made[:, :, given:]
