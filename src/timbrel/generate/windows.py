"""Latents of any length, by windows of which each goes on from the one before.

The last frames of a window are given, clean, as the context of the next: the denoiser was
trained to continue them, so there is no seam to hide and no cross-fade. Memory is one
window, whatever the length of the piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from timbrel.conditions.structure import RollEncoder, Structure
from timbrel.diffusion.guidance import Guidance, combine
from timbrel.diffusion.samplers import SAMPLERS, Velocity
from timbrel.diffusion.unet import Shortcut
from timbrel.network import Network

# Roll frames that are read before a window, so that notes that ring are known: 3 s.
RUN_IN = 128


@dataclass(frozen=True)
class Sampling:
    """How to sample."""

    steps: int = 6  # evaluations of the denoiser per window
    guidance: Guidance = field(default_factory=Guidance)
    seed: int = 0
    sampler: str = "euler"  # one of SAMPLERS


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
    network: Network, structure: Structure, timbre: Tensor, context: Tensor, guidance: Guidance
) -> Velocity:
    """The denoiser under guidance; only branches with a factor are computed, in one batch.

    A few-step denoiser has guidance folded in and needs one branch.

    Args:
        network: trained.
        structure: of one item.
        timbre: (1, timbre_dim).
        context: (1, 1, frames) mask of given frames.
        guidance: scales.
    """
    few_step = network.config.denoiser.few_step
    branches = Guidance(1, 1).branches() if few_step else guidance.branches()
    count = len(branches)
    present = torch.tensor([[s, t] for s, t, _ in branches], device=timbre.device)
    conditions = network.condition(
        structure.expand(count), timbre.expand(count, -1), present[:, 0], present[:, 1]
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


@torch.inference_mode()
def generate(
    network: Network,
    roll_between: Callable[[int, int], Tensor],
    frames: int,
    timbre: Tensor,
    sampling: Sampling,
    drums: bool = False,
) -> Iterator[Tensor]:
    """Latents of a piece, window by window.

    Args:
        network: trained, with a roll encoder.
        roll_between: gives the roll (3, 128, stop - start) between two frames; the first
            may be negative (nothing sounds there).
        frames: length of the piece.
        timbre: (1, timbre_dim), or (frames, timbre_dim) for one that changes.
        sampling: steps, guidance, seed.
        drums: whether pitches name drums.

    Yields:
        (1, latent_channels, n): consecutive frames, `frames` in all.
    """
    encoder = network.structure_encoder
    if not isinstance(encoder, RollEncoder):
        raise TypeError("generate() needs a network that reads notes")
    device = timbre.device
    config = network.config
    channels = config.codec.channels
    source = torch.Generator(device="cpu").manual_seed(sampling.seed)
    noise_tail = torch.zeros(1, channels, 0)
    made = torch.zeros(1, channels, 0, device=device)
    flag = torch.tensor([drums], device=device)
    for start, given, stop in windows(frames, config.window, config.context):
        roll = roll_between(start - RUN_IN, stop)[None].to(device)
        structure = encoder(roll, flag).after(RUN_IN)
        length = stop - start
        # frame f of the piece gets the same noise however the windows fall
        fresh = torch.randn(1, length - given, channels, generator=source).transpose(1, 2)
        noise = torch.cat([noise_tail[:, :, noise_tail.shape[2] - given :], fresh], 2)
        noise_tail = noise
        context = torch.zeros(1, 1, length, device=device)
        context[:, :, :given] = 1
        before = torch.zeros(1, channels, length, device=device)
        before[:, :, :given] = made[:, :, made.shape[2] - given :]
        vector = timbre if len(timbre) == 1 else timbre[(start + stop) // 2][None]
        velocity = guided_velocity(network, structure, vector, context, sampling.guidance)
        made = SAMPLERS[sampling.sampler](
            velocity,
            noise.to(device),
            before,
            context,
            network.objective.schedule,
            sampling.steps,
        )
        yield made[:, :, given:]
