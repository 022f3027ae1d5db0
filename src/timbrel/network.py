"""All learned parts together, and the conditions as the denoiser takes them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.codec import Codec
from timbrel.codec.decoder import DecoderConfig
from timbrel.codec.spectral import SpectralCodec, SpectralConfig
from timbrel.codec.spectral import tiny as tiny_codec
from timbrel.conditions.adversary import Adversary
from timbrel.conditions.outline import Outline
from timbrel.conditions.recall import Recall, RecallConfig
from timbrel.conditions.refinement import Refinement, RefinementConfig
from timbrel.conditions.structure import CqtEncoder, RollEncoder, Structure, StructureConfig
from timbrel.conditions.timbre import Timbre, TimbreConfig, TimbreEncoder
from timbrel.diffusion.objective import Objective, objective
from timbrel.diffusion.unet import Conditions, UNet, UNetConfig
from timbrel.errors import InputError, ModelError
from timbrel.nn.asking import maybe_any
from timbrel.spectra import ConstantQ

# sizes that may be 0; all others are 1 or more
MAY_BE_NONE = ("layers", "levels", "detail", "blocks", "detail_blocks", "halvings")


@dataclass(frozen=True)
class LatentConfig:
    """All that a model knows of a codec other than the spectral one."""

    rate: int  # Hz
    hop: int  # samples per latent frame
    channels: int  # latent channels


def latent_config(codec: Codec) -> SpectralConfig | LatentConfig:
    """What a model needs to know of a codec."""
    if isinstance(codec.config, SpectralConfig):
        return codec.config
    return LatentConfig(codec.rate, codec.hop, codec.channels)


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a model."""

    codec: SpectralConfig | LatentConfig = field(default_factory=SpectralConfig)
    timbre: TimbreConfig = field(default_factory=TimbreConfig)
    structure: StructureConfig = field(default_factory=StructureConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    denoiser: UNetConfig = field(default_factory=UNetConfig)
    window: int = 256  # latent frames made at once
    context: int = 32  # of these, frames that repeat the end of the window before
    objective: str = "flow"  # that the denoiser is trained on: "flow" or "edm"
    # standard deviation of the latents (EDM's sigma_data): measured when training begins, and kept
    # by models that go on from others
    deviation: float = 1.0
    # of the latents that it was trained on (`Codec.latent_id`); "": a model of before it was noted
    latent: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.context < self.window:
            raise InputError(
                f"context is {self.context} of windows of {self.window} frames; give fewer frames "
                "of context, or longer windows"
            )
        parts = ("timbre", "structure", "recall", "refinement", "denoiser")
        for part, config in ((part, asdict(getattr(self, part))) for part in parts):
            for name, value in config.items():
                least = 0 if name in MAY_BE_NONE else 1
                if type(value) is int and value < least:
                    raise InputError(f"{part}.{name} is {value}; give {least} or more")
            if config.get("width", 0) % config.get("heads", 1):
                raise InputError(
                    f"{part}.width is {config['width']}; give a multiple of its "
                    f"{config['heads']} heads"
                )


def tiny() -> ModelConfig:
    """For tests: learns to follow pitch on two cores in minutes."""
    return ModelConfig(
        codec=tiny_codec(),
        timbre=TimbreConfig(width=48, blocks=2, dim=16),
        structure=StructureConfig(dim=48, blocks=1, width=64),
        recall=RecallConfig(layers=1, width=48, blocks=1, heads=2, uncertainty=True),
        denoiser=UNetConfig(
            widths=(48, 64), embedding=64, heads=2, structure=48, standardised=True
        ),
        window=64,
        context=16,
    )


def small() -> ModelConfig:
    """The default: faster than real time on two cores."""
    return ModelConfig(
        recall=RecallConfig(layers=2, uncertainty=True),
        refinement=RefinementConfig(layers=5, fading=True),
        denoiser=UNetConfig(standardised=True, detail=256, detail_blocks=3),
    )


def base() -> ModelConfig:
    """For a GPU."""
    return ModelConfig(
        timbre=TimbreConfig(width=256, blocks=6, dim=64),
        structure=StructureConfig(dim=256, blocks=3),
        recall=RecallConfig(layers=3, width=384, uncertainty=True),
        denoiser=UNetConfig(
            widths=(288, 448, 640), blocks=2, embedding=512, heads=8, standardised=True
        ),
    )


PRESETS = {"tiny": tiny, "small": small, "base": base}


class Network(nn.Module):
    """Encoders E_T and E_S, denoiser D_theta, and the learned stand-ins for no condition."""

    channel_weight: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels, dim = config.codec.channels, config.structure.dim
        # codes of audio hold what the encoder chose, so only notes can be looked up
        self.timbre_encoder = TimbreEncoder(channels, config.timbre)
        self.recall: Recall | None = None
        if config.recall.layers and config.structure.source == "notes":
            self.recall = Recall(channels, dim, config.recall)
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
            if isinstance(config.codec, SpectralConfig):
                # notes can be drawn in coordinates that are known before training only
                self.outline = Outline(config.codec, config.timbre.dim)
        self.refinement: Refinement | None = None
        if config.refinement.layers and self.recall is not None:
            self.refinement = Refinement(channels, dim, config.timbre.dim, config.refinement)
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

    def begin_from(self, other: "Network") -> None:
        """Take over weights; what older versions lack adds nothing until it has learned."""
        missing, unknown = self.load_state_dict(other.state_dict(), strict=False)
        added = ("recall.", "refinement.", "denoiser.enter_standardised.", "denoiser.detail.")
        new = [name for name in missing if not name.startswith(added)]
        if unknown or new:
            raise ValueError(f"weights of another network: {(unknown + new)[0]}")
        entry = self.denoiser.enter_standardised
        if entry is not None and other.denoiser.enter_standardised is None:
            nn.init.zeros_(entry.weight)
            nn.init.zeros_(cast(Tensor, entry.bias))

    @property
    def objective(self) -> Objective:
        """What the denoiser was trained on, and the schedule that fits it."""
        return objective(self.config.objective, self.config.deviation)

    def adversary(self) -> Adversary:
        """A discriminator D_zeta that fits this network (it is not part of the model)."""
        return Adversary(self.config.structure.dim, self.config.timbre.dim)

    def timbre(self, latent: Tensor, roll: Tensor | None = None, learns: bool = True) -> Timbre:
        """The sound of examples.

        Args:
            latent: (batch, channels, frames).
            roll: (batch, 3, 128, frames) of the notes that were heard in them, for the memory
                alone: the vector should know no pitch; an empty one, or None: not known.
            learns: whether gradients reach the timbre encoder.
        """
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            vector = self.timbre_encoder(latent)
        encoder = self.structure_encoder
        if self.recall is None or not isinstance(encoder, RollEncoder):
            return Timbre(vector)
        if roll is None:
            code = latent.new_zeros(len(latent), self.config.structure.dim, latent.shape[2])
        else:
            heard = roll.flatten(1).any(1)
            with torch.no_grad():  # the structure encoder learns from what is to be played
                code = encoder.code(roll, torch.zeros_like(heard)) * heard[:, None, None]
        memory = self.recall.remember(latent, code)
        if self.refinement is None:
            return Timbre(vector, memory)
        return Timbre(vector, memory, self.refinement.remember(latent, code, vector))

    def condition(
        self, structure: Structure, timbre: Timbre, keep_structure: Tensor, keep_timbre: Tensor
    ) -> Conditions:
        """What the denoiser is told; conditions may be absent, item by item.

        Without structure or notes the guess is the codec's prior: zero, with the latents'
        own deviation.

        Args:
            structure: of (batch, ...).
            timbre: of (batch, ...).
            keep_structure: (batch,) bool.
            keep_timbre: (batch,) bool.
        """
        kept = keep_structure[:, None, None]
        code = torch.where(kept, structure.code, self.no_structure[:, None])
        vector = torch.where(keep_timbre[:, None], timbre.vector, self.no_timbre)
        batch, channels = len(timbre), self.config.codec.channels
        guess = vector.new_zeros(batch, channels, code.shape[2])
        deviation = vector.new_full((batch, channels, 1), self.config.deviation)
        if self.outline is not None and structure.levels is not None:
            assert structure.drums is not None
            # in full precision: levels span many octaves
            with torch.autocast(vector.device.type, enabled=False):
                drawn = self.outline(structure.levels, structure.drums, vector.float())
            guess = torch.where(kept, drawn, guess)
            deviation = torch.where(kept, self.outline.deviation(), deviation)
        both = kept & keep_timbre[:, None, None]
        memory = None if structure.levels is None else timbre.memory  # only notes can be looked up
        if self.recall is not None and memory is not None and maybe_any(both):
            found = self.recall(structure.code, memory)
            code, guess = code + found.code * both, guess + found.guess * both
            change = found.log_deviation
            if self.refinement is not None and timbre.closer is not None:
                assert structure.levels is not None  # else there was no memory
                levels = structure.levels
                nearer, by = self.refinement(structure.code, guess, vector, timbre.closer, levels)
                guess, change = guess + nearer * both, by if change is None else change + by
            if self.outline is not None and change is not None:
                deviation = torch.where(both, self.outline.deviation(change.float()), deviation)
        return Conditions(code, vector, guess, deviation)


def check_codec(network: Network, codec: Codec) -> None:
    """Refuse a codec whose latents the network does not know; its decoder may be any.

    Raises:
        ModelError: says what differs.
    """
    trained, given = asdict(network.config.codec), asdict(latent_config(codec))
    trained.pop("decoder", None)
    for name, value in trained.items():
        if given.get(name) != value:
            raise ModelError(
                f"the network was trained on a codec with {name} = {value}, this one has "
                f"{given.get(name)}; give the codec that it was trained with"
            )
    if not _latents_known(network, codec):
        raise ModelError(
            "the network was trained on latents of another codec (or of this one before it was "
            "trained on); give the codec that it was trained with"
        )


def _latents_known(network: Network, codec: Codec) -> bool:
    """Whether a codec of the same configuration makes the latents that the network knows."""
    if network.config.latent not in ("", codec.latent_id):
        return False
    if not isinstance(codec, SpectralCodec):
        return True
    # the basis enters the network by its channels' weights
    weight = codec.basis.deviation / codec.basis.deviation.mean()
    return weigh_alike(network.channel_weight, weight)


def weigh_alike(one: Tensor, other: Tensor) -> bool:
    """Whether channel weights are the same but for half precision, in which they are stored."""
    return torch.allclose(one.cpu(), other.cpu(), rtol=1e-2)


@torch.no_grad()
def mean_of(networks: Sequence[Network]) -> Network:
    """The network with the mean of some networks' weights (Wortsman et al., 2022, uniform soup).

    It is better than each of them where one was trained on from another: both then lie in one
    basin, and what each has forgotten the other knows.

    Raises:
        ModelError: their configurations differ.
    """
    noted = {network.config.latent for network in networks} - {""}
    latent = noted.pop() if len(noted) == 1 else ""
    mean = Network(replace(networks[0].config, latent=latent))
    states = [network.state_dict() for network in networks]
    weights = [network.channel_weight for network in networks]
    alike = not noted and all(_read(network.config) == _read(mean.config) for network in networks)
    if not alike or not all(weigh_alike(weight, weights[0]) for weight in weights):
        raise ModelError(
            "networks of different configurations or latents have no mean; give those that were "
            "trained on from one another"
        )
    mean.load_state_dict(
        {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    )
    return mean.eval()


def _read(config: ModelConfig) -> ModelConfig:
    """The configuration less the latents' name, and the decoder: no network has any of it."""
    config = replace(config, latent="")
    if not isinstance(config.codec, SpectralConfig):
        return config
    return replace(config, codec=replace(config.codec, decoder=DecoderConfig()))
