"""How to train a model: one number or switch a line."""

from dataclasses import dataclass, field

from timbrel.conditions.adversary import CONFUSIONS
from timbrel.data.pairs import Corruption
from timbrel.errors import TrainingError
from timbrel.training.optimiser import OPTIMISERS


@dataclass(frozen=True)
class ModelTraining:
    """How to train a model. Ablations change these by files (`recipes/`)."""

    batch: int = 16  # items per draw and process
    accumulate: int = 1  # draws per step, whose gradients are averaged
    frames: int = 128  # latent frames of a target, 3 s
    example_frames: int = 128  # latent frames of a timbre example
    peak_rate: float = 1e-3  # learning rate after warm-up
    optimiser: str = "muon"  # of matrices, with AdamW for the rest; "adamw": of all
    seed: int = 0
    # where items come from
    same_clip: float = 0.0  # share: target, structure and example from one recording (the paper: 1)
    overlap: bool = False  # within one recording, whether the example may overlap the target
    heard: float = 0.0  # share of items whose notes a listener heard in another rendition
    equalise: float = 0.5  # share of items, target and example through one equaliser
    transpose: float = 0.0  # share of items, notes and all; not where structure is audio
    corruption: Corruption = field(default_factory=Corruption)
    # what learns
    only: str = ""  # one part alone, such as "denoiser.detail" that --from lacks; "": everything
    # stages
    stage_one: float = 0.0  # share of the budget in which structure is absent
    freeze_timbre: bool = False  # the timbre encoder in stage 2 (docs/decisions/0007)
    drop_structure: float = 0.1  # share of items without structure in stage 2
    drop_timbre: float = 0.1  # share of items without timbre, drawn independently
    # objectives
    flow: float = 1.0  # weight of the denoiser's; 0: it is left out, where the guess alone learns
    outline: float = 0.5  # weight of the first guess's own error
    contrastive: float = 0.1  # weight of the timbre encoder's own objective, while it learns
    reentry: float = 0.0  # weight of the timbre that is heard again in the denoiser's estimate
    # the adversary, where structure is learned from audio
    adversary: float = 0.0  # final weight; 0: none
    confusion: str = "error"  # what the encoder does to it: a name in CONFUSIONS
    adversary_delay: float = 0.0  # share of the budget between stage 1 and the adversary
    adversary_ramp: float = 0.2  # share of the budget over which its weight rises
    adversary_every: int = 1  # n > 1: every n-th step is the adversary's alone; 1: all are shared
    # noise, context
    pure_noise: float = 0.2  # share of items that are noise alone: there the conditions decide
    context_share: float = 0.5  # share of items whose first frames are given
    context_frames: int = 32  # most frames given
    context_noise: float = 0.1  # largest std of noise on given frames: they will be our own
    structure_noise: float = 0.05  # std of noise on the structure code
    # course
    validate_every: int = 500  # steps
    precision: str = "fp32"  # of convolutions and products: "fp32" or "bf16"

    def __post_init__(self) -> None:
        named = {"confusion": CONFUSIONS, "precision": ("fp32", "bf16"), "optimiser": OPTIMISERS}
        for name, choices in named.items():
            if getattr(self, name) not in choices:
                raise TrainingError(
                    f"{name} is '{getattr(self, name)}'; it can be {' or '.join(choices)}"
                )
        shares = (
            "stage_one",
            "drop_structure",
            "drop_timbre",
            "same_clip",
            "heard",
            "equalise",
            "transpose",
            "pure_noise",
            "context_share",
        )
        for name in (*shares, "adversary_delay", "adversary_ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        counts = ("batch", "accumulate", "frames", "example_frames", "adversary_every")
        for name in (*counts, "validate_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; give 1 or more")

    def stage(self, progress: float) -> int:
        """1 or 2, of the paper's, at a share of the budget."""
        return 1 if progress < self.stage_one else 2
