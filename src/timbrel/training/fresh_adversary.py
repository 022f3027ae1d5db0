"""What an adversary that is trained afresh finds of the timbre in codes that stand still.

The adversary of a training runs after an encoder that runs away, so its error near chance may be
its own weakness. This one sees codes that no longer change, begins anew for every part that is
held out, and is judged on what it was not trained on:

by score   passages of scores that it never met, by timbres that it knows. It cannot get there by
           knowing passages by heart, and needs few timbres.
unheard    passages of timbres, and of scores, that it never met. What it finds there is a timbre
           that can be read, not one that is recognised; but a few dozen timbres teach that poorly,
           so little found proves little.

It guesses what the passages of a timbre have in common, the mean of their vectors. The vector of a
passage itself knows of the notes in it, which structure may and should tell.
"""

import torch
from torch import Tensor

from timbrel.conditions.adversary import Adversary, guess_error
from timbrel.training import disentanglement

WIDTH = 32  # a wider one finds as much, and costs more
STEPS, BATCH, RATE = 100, 32, 2e-3
EVERY = 10  # steps between looks at what is held out
LEAST_TIMBRES = 10  # to hold some of them out
SILENT = 0.1  # of the mean deviation of channels; one that hardly moves is not blown up
Turns = list[tuple[Tensor, Tensor]]  # (items,) bool: what is trained on, and what is judged


def by_score(score: Tensor) -> Turns:
    """Folds of scores; their timbres are known from other scores. (items,) int64."""
    fold = disentanglement.folds(score, draws=1)[0]
    return [(fold != k, fold == k) for k in fold.unique()]


def unheard(label: Tensor, score: Tensor) -> Turns:
    """Folds of timbres; what is trained on has neither a timbre nor a score of those judged.

    Args:
        label: (items,) int64, number of the timbre.
        score: (items,) int64.

    Returns:
        None at all if there are too few timbres.
    """
    if len(label.unique()) < LEAST_TIMBRES:
        return []
    fold = disentanglement.folds(label, draws=1)[0]
    judged = [fold == k for k in fold.unique()]
    turns = [(~some & ~torch.isin(score, score[some]), some) for some in judged]
    return turns if all(len(label[known].unique()) > 1 for known, _ in turns) else []


def error_over_chance(codes: Tensor, timbre: Tensor, label: Tensor, turns: Turns) -> float:
    """Error of the guesses at held-out items over that of the mean; 1: nothing is found.

    At the step of training that is best for all folds together, which may be none at all: an
    adversary that finds nothing had better answer with the mean, so that is as bad as it gets.

    Args:
        codes: (items, dim, frames), such as structure.
        timbre: (items, timbre_dim), vectors of the items.
        label: (items,) int64, number of the timbre.
        turns: of `by_score` or `unheard`.

    Returns:
        From 0 to 1; the same for the same codes.
    """
    names, place = label.unique(return_inverse=True)
    common = torch.stack([timbre[label == name].mean(0) for name in names])[place]
    curves = torch.stack([_curve(codes, common, *turn) for turn in turns]).sum(0)
    return float(curves.min() / curves[0]) if curves[0] > 1e-12 else 1.0


def _curve(codes: Tensor, wanted: Tensor, known: Tensor, judged: Tensor) -> Tensor:
    """Squared error on the judged items as training goes on; the first is that of the mean."""
    inputs = codes[known]
    deviation = inputs.std((0, 2), keepdim=True)
    scale = deviation.clamp_min(SILENT * float(deviation.mean())).clamp_min(1e-9)
    inputs, asked = (
        (x - inputs.mean((0, 2), keepdim=True)) / scale for x in (inputs, codes[judged])
    )
    centre = wanted[known].mean(0)
    size = (wanted[known] - centre).square().mean().sqrt().clamp_min(1e-9)
    target, right = (wanted[known] - centre) / size, (wanted[judged] - centre) / size
    crop = max(1, inputs.shape[2] // 2)  # a passage has several
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        adversary = Adversary(inputs.shape[1], target.shape[1], WIDTH)
        torch.nn.init.zeros_(adversary.leave.weight)  # it begins with the mean
        torch.nn.init.zeros_(adversary.leave.bias)
        optimiser = torch.optim.AdamW(adversary.parameters(), lr=RATE)
        errors = [right.square().sum()]
        for step in range(1, STEPS + 1):
            items = torch.randint(len(inputs), (BATCH,))
            start = int(torch.randint(inputs.shape[2] - crop + 1, ()))
            loss = guess_error(adversary, inputs[items, :, start : start + crop], target[items])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % EVERY == 0:
                with torch.no_grad():
                    errors.append((adversary(asked) - right).square().sum())
    return torch.stack(errors) * size.square()
