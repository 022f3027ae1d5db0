"""All learned parts together, and the conditions as the denoiser takes them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.codec import CodecConfig
from timbrel.codec.codec import tiny as tiny_codec
from timbrel.conditions.adversary import Adversary
from timbrel.conditions.outline import Outline
from timbrel.conditions.structure import CqtEncoder, RollEncoder, Structure, StructureConfig
from timbrel.conditions.timbre import TimbreConfig, TimbreEncoder
from timbrel.diffusion.objective import Objective, objective
from timbrel.diffusion.unet import Conditions, UNet, UNetConfig
from timbrel.spectra import ConstantQ


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a model."""

    codec: CodecConfig = field(default_factory=CodecConfig)
    timbre: TimbreConfig = field(default_factory=TimbreConfig)
    structure: StructureConfig = field(default_factory=StructureConfig)
    denoiser: UNetConfig = field(default_factory=UNetConfig)
    window: int = 256  # latent frames made at once
    context: int = 32  # of these, frames that repeat the end of the window before
    objective: str = "flow"  # that the denoiser is trained on: "flow" or "edm"
    deviation: float = 1.0  # standard deviation of the latents, measured (EDM's sigma_data)


def tiny() -> ModelConfig:
    """For tests: learns to follow pitch on two cores in minutes."""
    return ModelConfig(
        codec=tiny_codec(),
        timbre=TimbreConfig(width=48, blocks=2, dim=16),
        structure=StructureConfig(dim=48, blocks=1),
        denoiser=UNetConfig(widths=(48, 64), embedding=64, heads=2, structure=48),
        window=64,
        context=16,
    )


def small() -> ModelConfig:
    """The default: faster than real time on two cores."""
    return ModelConfig()


def base() -> ModelConfig:
    """For a GPU."""
    return ModelConfig(
        timbre=TimbreConfig(width=256, blocks=6, dim=64),
        structure=StructureConfig(dim=256, blocks=3),
        denoiser=UNetConfig(widths=(288, 448, 640), blocks=2, embedding=512, heads=8),
    )


def paper() -> ModelConfig:
    """The paper's way with audio: a narrow constant-Q structure code behind an adversary."""
    return ModelConfig(structure=StructureConfig(source="cqt", dim=16, blocks=5))


PRESETS = {"tiny": tiny, "small": small, "base": base, "paper": paper}


class Network(nn.Module):
    """Encoders E_T and E_S, denoiser D_theta, and the learned stand-ins for no condition."""

    channel_weight: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels, dim = config.codec.channels, config.structure.dim
        self.timbre_encoder = TimbreEncoder(channels, config.timbre)
        self.cqt: ConstantQ | None = None
        self.outline: Outline | None = None
        if config.structure.source == "cqt":
            self.cqt = ConstantQ(config.codec.rate, config.codec.hop)
            self.structure_encoder: RollEncoder | CqtEncoder = CqtEncoder(
                self.cqt.bins, config.structure
            )
        else:
            frames_per_second = config.codec.rate / config.codec.hop
            self.structure_encoder = RollEncoder(config.structure, frames_per_second)
            self.outline = Outline(config.codec, config.timbre.dim)
        self.denoiser = UNet(channels, dim, config.timbre.dim, config.denoiser)
        self.no_timbre = nn.Parameter(torch.zeros(config.timbre.dim))
        self.no_structure = nn.Parameter(torch.zeros(dim))
        self.register_buffer("channel_weight", torch.ones(channels))

    def adopt(self, basis: SpectralBasis) -> None:
        """Take over what depends on the codec's basis: the outline, and channel weights.

        A latent channel weighs in the loss by its share of the log-spectrum.
        """
        self.channel_weight.copy_(basis.deviation / basis.deviation.mean())
        if self.outline is not None:
            self.outline.adopt(basis)

    @property
    def objective(self) -> Objective:
        """What the denoiser was trained on, and the schedule that fits it."""
        return objective(self.config.objective, self.config.deviation)

    def adversary(self) -> Adversary:
        """A discriminator D_zeta that fits this network (it is not part of the model)."""
        return Adversary(self.config.structure.dim, self.config.timbre.dim)

    def condition(
        self, structure: Structure, timbre: Tensor, keep_structure: Tensor, keep_timbre: Tensor
    ) -> Conditions:
        """What the denoiser is told; conditions may be absent, item by item.

        Without structure or notes the guess is the codec's prior: zero, with the latents'
        own deviation.

        Args:
            structure: of (batch, ...).
            timbre: (batch, timbre_dim).
            keep_structure: (batch,) bool.
            keep_timbre: (batch,) bool.
        """
        kept = keep_structure[:, None, None]
        code = torch.where(kept, structure.code, self.no_structure[:, None])
        timbre = torch.where(keep_timbre[:, None], timbre, self.no_timbre)
        batch, channels = len(timbre), self.config.codec.channels
        guess = timbre.new_zeros(batch, channels, code.shape[2])
        deviation = timbre.new_full((batch, channels, 1), self.config.deviation)
        if self.outline is not None and structure.levels is not None:
            assert structure.drums is not None
            drawn = self.outline(structure.levels, structure.drums, timbre)
            guess = torch.where(kept, drawn, guess)
            deviation = torch.where(kept, self.outline.deviation, deviation)
        return Conditions(code, timbre, guess, deviation)
