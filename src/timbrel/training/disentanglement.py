"""What the codes tell that they should not, and what has collapsed: numbers and warnings.

Functions take tensors and return numbers; `warnings_of` says what a number means and what
to do about it. What they are measured on is in `probe`.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

FOLDS = 5
DRAWS = 5  # of folds
RIDGE = 1.0  # of a kernel whose diagonal is 1 on average
LEAK = 0.25  # of what the sound itself tells, beyond what is legitimate
FAINT = 0.02  # of chance, by which the error of a fresh adversary falls by accident
FEWEST_DIRECTIONS = 2.0  # effective rank of the timbre code
LEAST_SPREAD = 0.05  # variance of unit timbre vectors; 1 when they point everywhere
LEAST_NOISE = 0.01  # spread over noise seeds against the spread over items
EASY = 0.3  # adversary's error over chance: it has won
ALIKE = 0.995  # loss with a condition over the loss without: it is ignored


def folds(score: Tensor, count: int = FOLDS, draws: int = DRAWS) -> Tensor:
    """Random folds of equally many scores (or one more), always the same for the same scores.

    Args:
        score: (items,) int64; items of one score share a fold.
        count: of folds; fewer if there are fewer scores.
        draws: how often scores are dealt out, as one deal moves what is found by several percent.

    Returns:
        (draws, items) int64 from 0 up.
    """
    names, place = score.unique(return_inverse=True)
    random = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(len(names), generator=random) for _ in range(draws)])
    return order[:, place] % min(count, len(names))


def identify(codes: Tensor, label: Tensor, fold: Tensor) -> float:
    """Share of items that a linear probe, trained on the other folds, labels rightly.

    Ridge regression of one-hot labels on standardised codes; balanced over labels.

    Args:
        codes: (items, dim).
        label: (items,) int64.
        fold: (draws, items) int64; items of one fold are never both trained on and judged.
    """
    names = label.unique()
    wanted = (label[:, None] == names).double()
    right = torch.zeros(len(label))
    for known, judged in _turns(fold):
        # a label with more items to judge has fewer to learn from: unless all are made equally
        # wide it is guessed less often, and codes of noise lie below chance
        learned = wanted[known] - wanted[known].mean(0)
        learned = learned / learned.std(0, correction=0).clamp_min(1e-6)
        estimate = _regressed(codes[known], learned, codes[judged])
        right[judged] += (estimate.argmax(1) == wanted[judged].argmax(1)).float() / len(fold)
    return float(torch.stack([right[label == name].mean() for name in names]).mean())


def explained(codes: Tensor, value: Tensor, label: Tensor, fold: Tensor) -> float:
    """Share of the variance of a value within labels that a linear probe explains; at least 0.

    Args:
        codes: (items, dim).
        value: (items,), such as mean pitch.
        label: (items,) int64; means of each label are taken away from codes and values, as
            an instrument's usual register is no leak.
        fold: (draws, items) int64, as of `identify`; items whose label no other fold has are
            not judged.
    """
    error = total = 0.0
    for known, judged in _turns(fold):
        # the means are those of the other folds: with the judged items in them, items of a label
        # add up to nothing, so a wide code of noise gives each of them away by the others
        judged = judged & torch.isin(label, label[known])
        x, wanted = _within(codes, label, known), _within(value[:, None], label, known)
        estimate = _regressed(x[known], wanted[known], x[judged])
        error += float((estimate - wanted[judged]).square().sum())
        total += float(wanted[judged].square().sum())
    return max(0.0, 1 - error / total) if total > 1e-9 else 0.0


def _turns(fold: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """(items,) bool: what is learned from, and what is judged."""
    for draw in fold:
        for name in draw.unique():
            yield draw != name, draw == name


def _within(x: Tensor, label: Tensor, known: Tensor) -> Tensor:
    """Items (items, dim) less the mean of the known ones of their label."""
    x = x.double()
    member = (label[:, None] == label[known].unique()).double()
    counted = member * known[:, None]
    return x - member @ (counted.T @ x / counted.sum(0)[:, None])


def _regressed(codes: Tensor, wanted: Tensor, judged: Tensor) -> Tensor:
    """Estimates for judged codes by ridge regression on others, in its dual form.

    Args:
        codes: (items, dim), trained on.
        wanted: (items, values) of mean 0, float64.
        judged: (others, dim).

    Returns:
        (others, values), float64.
    """
    mean, deviation = codes.double().mean(0), codes.double().std(0, correction=0)
    scale = deviation.clamp_min(1e-6) * math.sqrt(codes.shape[1])
    x, asked = (codes - mean) / scale, (judged - mean) / scale
    kernel = x @ x.T + RIDGE * torch.eye(len(x), dtype=torch.float64)
    return asked @ x.T @ torch.linalg.solve(kernel, wanted)


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
            found["timbre/pitch"] > _allowed(found, "pitch"),
            f"timbre codes tell {found['timbre/pitch']:.0%} of the pitch of their example (the "
            f"sound itself {get('sound/pitch', 0.0):.0%}), so its register may come along: take "
            "examples from other passages and registers, or make timbre.dim smaller",
        )
    if stage == 1:
        return warnings
    if "structure/instrument" in found:
        check(
            "timbre-in-structure",
            found["structure/instrument"] > _allowed(found, "instrument"),
            f"a linear probe finds the instrument in {found['structure/instrument']:.0%} of "
            f"structure codes ({get('sound/instrument', 0.0):.0%} of the sounds themselves, "
            f"{get('notes/instrument', 0.0):.0%} from the notes alone, chance "
            f"{get('chance/instrument', 0.0):.0%}): train on paired renders, raise adversary, or "
            "narrow structure (dim, levels)",
        )
    if "structure/error_over_chance" in found:
        check(
            "adversary-finds-timbre",
            1 - found["structure/error_over_chance"] > _guessable(found) + FAINT,
            "an adversary trained afresh guesses timbre from structure codes with an error of "
            f"{found['structure/error_over_chance']:.2f} of chance "
            f"({get('sound/error_over_chance', 1.0):.2f} from the sounds themselves, "
            f"{get('notes/error_over_chance', 1.0):.2f} from the notes alone): train on paired "
            "renders, raise adversary, or narrow structure (dim, levels)",
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


def _allowed(found: Mapping[str, float], what: str) -> float:
    """How much of the instrument, or of pitch, a code may tell without a warning."""
    fair = max(found.get(f"{control}/{what}", 0.0) for control in ("chance", "noise", "notes"))
    return fair + LEAK * max(0.0, found.get(f"sound/{what}", 0.0) - fair)


def _guessable(found: Mapping[str, float]) -> float:
    """By how much of chance a fresh adversary's error may fall without a warning."""
    told = {c: 1 - found.get(f"{c}/error_over_chance", 1.0) for c in ("noise", "notes", "sound")}
    fair = max(told["noise"], told["notes"])
    return fair + LEAK * max(0.0, told["sound"] - fair)
