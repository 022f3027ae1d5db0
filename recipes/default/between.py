"""A listener between two others, of which the second was trained on from the first.

    python recipes/default/between.py default runs/hear/listener -o runs/between --share 0.6

Weights that both have are averaged, `--share` of the second (Wortsman et al., 2022, "model soups");
blocks that only the second has add that much less of what they add there.
"""

import argparse
import sys
from pathlib import Path

from timbrel.conditions.listener import Listener
from timbrel.errors import TimbrelError
from timbrel.model import folder_of
from timbrel.serialize import load_listener, save_listener

LAST = ".narrow."  # layer of a block that is added to what the block was given


def between(first: Listener, second: Listener, share: float) -> Listener:
    """A listener of the second's size.

    Args:
        first: with no weight that the second lacks.
        second: what it became, maybe with more blocks.
        share: of the second, in [0, 1].
    """
    old, new = first.state_dict(), second.state_dict()
    mixed = {}
    for name, weight in new.items():
        if name not in old:
            mixed[name] = share * weight if LAST in name else weight
        else:
            mixed[name] = old[name].lerp(weight, share) if weight.is_floating_point() else weight
    found = Listener(second.config)
    found.load_state_dict(mixed)
    return found.eval()


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", help="'default', a model's or a listener's folder")
    parser.add_argument("second", help="likewise")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the second, from 0 to 1")
    options = parser.parse_args()
    if not 0 <= options.share <= 1:
        parser.error(f"--share is {options.share:g}; give a number from 0 to 1")
    try:
        first, second = (load_listener(folder_of(name)) for name in (options.first, options.second))
    except TimbrelError as problem:
        sys.exit(f"between.py: {problem}")
    lacking = set(first.state_dict()) - set(second.state_dict())
    if lacking:
        sys.exit(f"between.py: {options.second} lacks {min(lacking)}, which {options.first} has")
    save_listener(between(first, second, options.share), options.output)
    print(f"{options.output}: listener saved")


if __name__ == "__main__":
    main()
