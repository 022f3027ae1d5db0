"""What a training of a model refuses before it begins, or when nothing is learned."""

from dataclasses import asdict

from timbrel.errors import TrainingError
from timbrel.network import ModelConfig, Network, weigh_alike
from timbrel.training.run import differences
from timbrel.training.settings import ModelTraining

MOST_IDLE = 20  # draws; of batches of one, a fifth may have nothing for what alone learns


def check_parts(config: ModelConfig, training: ModelTraining, begun: bool) -> None:
    """Refuse settings by which a part would be asked for and never learn.

    Args:
        config: of the network.
        training: hyper-parameters.
        begun: whether there are weights to go on from.

    Raises:
        TrainingError: it would not.
    """
    if training.only and not begun:
        raise TrainingError(
            f"'{training.only}' alone is to learn, and nothing is there for all the rest, which "
            "would stay as it was drawn; give --from"
        )
    if training.freeze_timbre and not training.stage_one and not begun:
        raise TrainingError(
            "the timbre encoder would never learn: it is frozen after stage 1, and there is no "
            "stage 1; give --stage-one a share, or --no-freeze-timbre"
        )
    if training.stage_one == 1:
        raise TrainingError(
            "structure would never be learned: it is absent in stage 1, and stage 1 is all there "
            "is; give --stage-one a share below 1"
        )
    if training.adversary and training.stage_one + training.adversary_delay >= 1:
        raise TrainingError(
            f"the adversary would never begin: stage 1 takes {training.stage_one:g} of the budget, "
            f"and it waits for {training.adversary_delay:g} more; give --stage-one a smaller "
            "share, or set adversary to 0"
        )
    if training.transpose and config.structure.source != "notes":
        raise TrainingError(
            "items are transposed with their notes, and this model's structure is heard in audio, "
            "which is not; set transpose to 0"
        )
    if training.adversary and config.structure.source == "notes":
        raise TrainingError(
            "an adversary takes timbre out of structure that is learned from audio, and this model "
            "reads notes; set adversary to 0"
        )


def check_learned(idle: int, training: ModelTraining) -> None:
    """Refuse to go on where what alone learns never has a part in the losses.

    Args:
        idle: draws in a row of which nothing could be learned; one may be, as it is dropped from
            all items of a small draw.
        training: hyper-parameters.

    Raises:
        TrainingError: there were too many.
    """
    if idle >= MOST_IDLE:
        raise TrainingError(
            f"there is nothing to learn: '{training.only}', which alone should, has no part in the "
            "losses (in stage 1, or where flow is 0)"
        )


def check_start(network: Network, start_from: Network) -> None:
    """Refuse weights that do not fit.

    Raises:
        TrainingError: another configuration, or another codec's latents; says which. A
            few-step model, whose denoiser learns from a teacher and not from data.
    """
    if start_from.config.denoiser.few_step:
        raise TrainingError(
            "the model to start from was made for few steps by `timbrel train distil`; start from "
            "the model that it was distilled from"
        )
    free = ["codec.decoder"]  # latents are the same for any
    if start_from.recall is None:
        free.append("recall")  # adds nothing until it has learned
    elif not start_from.config.recall.uncertainty:
        free.append("recall.uncertainty")  # likewise
    if start_from.refinement is None:
        free.append("refinement")
    elif not start_from.config.refinement.fading:
        free.append("refinement.fading")
    if not start_from.config.denoiser.standardised:
        free.append("denoiser.standardised")
    if not start_from.config.denoiser.detail:
        free.append("denoiser.detail")  # and its number of blocks
    if "" in (start_from.config.latent, network.config.latent):
        free.append("latent")
    for name, (wanted, found) in differences(asdict(network.config), asdict(start_from.config)):
        if not name.startswith(tuple(free)):
            raise TrainingError(
                f"the weights to start from have {name} = {found}, not {wanted}; choose the "
                "preset and codec that they were made with"
            )
    # the basis enters the network by its channels' weights
    if not weigh_alike(network.channel_weight, start_from.channel_weight):
        raise TrainingError(
            "the weights to start from were trained on latents of another codec; give that "
            "codec by --codec, or begin without --from"
        )
