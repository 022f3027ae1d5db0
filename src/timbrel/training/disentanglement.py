"""What the codes tell that they should not, and what has collapsed: numbers and warnings.

Functions take tensors and return numbers; `warnings_of` says what a number means and what
to do about it. What they are measured on is in `probe`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

LEAK = 0.10  # of accuracy above what is legitimate
PITCH = 0.3  # of the variance of pitch that a timbre code may explain
FEWEST_DIRECTIONS = 2.0  # effective rank of the timbre code
LEAST_SPREAD = 0.05  # variance of unit timbre vectors; 1 when they point everywhere
LEAST_NOISE = 0.01  # spread over noise seeds against the spread over items
EASY = 0.3  # adversary's error over chance: it has won
ALIKE = 0.995  # loss with a condition over the loss without: it is ignored


def identify(codes: Tensor, label: Tensor, fold: Tensor) -> float:
    """Share of items that a linear probe, trained on the other folds, labels rightly.

    Ridge regression of one-hot labels on standardised codes; balanced over labels.

    Args:
        codes: (items, dim).
        label: (items,) int64.
        fold: (items,) int64; items of one fold are never both trained on and judged.
    """
    names = label.unique()
    wanted = (label[:, None] == names).float()
    estimate = _cross_validated(codes, wanted, fold)
    right = estimate.argmax(1) == wanted.argmax(1)
    return float(torch.stack([right[label == name].float().mean() for name in names]).mean())


def explained(codes: Tensor, value: Tensor, label: Tensor, fold: Tensor) -> float:
    """Share of the variance of a value within labels that a linear probe explains; at least 0.

    Args:
        codes: (items, dim).
        value: (items,), such as mean pitch.
        label: (items,) int64; means of each label are taken away from codes and values, as
            an instrument's usual register is no leak.
        fold: (items,) int64, as of `identify`.
    """
    codes, wanted = _within(codes, label), _within(value[:, None], label)
    if float(wanted.square().sum()) < 1e-9:
        return 0.0
    error = (_cross_validated(codes, wanted, fold) - wanted).square().sum()
    return max(0.0, 1 - float(error / wanted.square().sum()))


def _within(x: Tensor, label: Tensor) -> Tensor:
    out = x.clone()
    for name in label.unique():
        out[label == name] -= x[label == name].mean(0)
    return out


def _cross_validated(codes: Tensor, wanted: Tensor, fold: Tensor, ridge: float = 0.1) -> Tensor:
    """Estimates for each fold by ridge regression on the others, in its dual form."""
    codes, wanted = codes.double(), wanted.double()
    out = torch.zeros_like(wanted)
    for name in fold.unique():
        test = fold == name
        mean, deviation = codes[~test].mean(0), codes[~test].std(0).clamp_min(1e-6)
        x = (codes - mean) / deviation / math.sqrt(codes.shape[1])
        kernel = x @ x[~test].T
        offset = wanted[~test].mean(0)
        eye = ridge * torch.eye(int((~test).sum()), dtype=torch.float64)
        weight = torch.linalg.solve(kernel[~test] + eye, wanted[~test] - offset)
        out[test] = kernel[test] @ weight + offset
    return out.float()


def effective_rank(codes: Tensor) -> float:
    """Directions in which codes vary: exponential of the entropy of their spectrum.

    (Roy and Vetterli, 2007); (items, dim) -> 1 to dim.
    """
    centred = (codes - codes.mean(0)).double()
    share = torch.linalg.svdvals(centred).square()
    share = share / share.sum().clamp_min(1e-20)
    return float(torch.exp(-(share * torch.log(share.clamp_min(1e-20))).sum()))


def spread(codes: Tensor) -> float:
    """Variance of unit vectors (items, dim): 0 when all are the same, near 1 when all differ."""
    return float((codes - codes.mean(0)).square().sum(1).mean())


def apart(first: Tensor, second: Tensor) -> float:
    """Distance of two codes of the same passages, over that of codes of different passages.

    0: equal; 1: as far apart as if they were of different passages.

    Args:
        first: (items, dim, frames).
        second: (items, dim, frames), item for item of the same passage.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2)).sqrt()

    same = distance(first, second).mean()
    others = torch.stack([distance(first, second.roll(k, 0)).mean() for k in range(1, len(first))])
    return float(same / others.mean().clamp_min(1e-9))


def warnings_of(found: Mapping[str, float], stage: int = 2) -> list[str]:
    """What the numbers of `probe`, of validation and of the log warn of: "name: what to do".

    Args:
        found: name -> number; what is not there is not judged.
        stage: of training; in stage 1 structure is absent and is not judged.
    """
    get = found.get
    warnings: list[str] = []

    def check(name: str, bad: bool, text: str) -> None:
        if bad:
            warnings.append(f"{name}: {text}")

    if "timbre/spread" in found:
        check(
            "timbre-collapse",
            get("timbre/spread", 1.0) < LEAST_SPREAD
            or get("timbre/effective_rank", 99.0) < FEWEST_DIRECTIONS,
            f"timbre codes hardly differ (variance {found['timbre/spread']:.3f}, effective rank "
            f"{get('timbre/effective_rank', 0.0):.1f}): raise contrastive, lengthen stage 1, or "
            "train on more instruments",
        )
    if "timbre/pitch" in found:
        check(
            "pitch-in-timbre",
            found["timbre/pitch"] > PITCH,
            f"timbre codes tell {found['timbre/pitch']:.0%} of the pitch of their example, so "
            "its register may come along: take examples from other passages and registers, or "
            "make timbre.dim smaller",
        )
    if stage == 1:
        return warnings
    if "structure/instrument" in found:
        fair = max(get("structure/chance", 0.0), get("structure/instrument_from_notes", 0.0))
        check(
            "timbre-in-structure",
            found["structure/instrument"] > fair + LEAK,
            f"a linear probe finds the instrument in {found['structure/instrument']:.0%} of "
            f"structure codes ({fair:.0%} from the notes alone, chance "
            f"{get('structure/chance', 0.0):.0%}): train on paired renders, raise adversary, or "
            "narrow structure (dim, levels)",
        )
    if "output/spread_over_seeds" in found:
        check(
            "output-collapse",
            found["output/spread_over_seeds"] < LEAST_NOISE,
            "outputs hardly depend on the noise "
            f"({found['output/spread_over_seeds']:.4f} of their spread over items): the denoiser "
            "answers with a mean; train longer, or lower the learning rate",
        )
    if "adversary/error_over_chance" in found:
        check(
            "adversary-too-strong",
            found["adversary/error_over_chance"] < EASY,
            "the adversary guesses timbre from structure with an error of "
            f"{found['adversary/error_over_chance']:.2f} of chance, and the encoder does not "
            "prevent it: raise adversary, ramp it later, or narrow structure",
        )
    for missing, name in (("structure", "timbre"), ("timbre", "structure")):
        one, both = get(f"valid/{missing}"), get("valid/both")
        if one is not None and both is not None:
            check(
                f"{name}-ignored",
                both > ALIKE * one,
                f"the denoiser does no better with {name} than without (loss {both:.4f} against "
                f"{one:.4f}): train longer; if it stays so, look whether {name} codes collapsed",
            )
    return warnings
