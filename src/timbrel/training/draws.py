"""What each step is made of, drawn ahead by other processes so that a GPU need not wait.

A draw is a pure function of (seed, number, rank): whoever makes it, and when, training is the same.
What travels are named tuples, which PyTorch's loader knows how to pin.
"""

import itertools
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from timbrel.data.batch import Batch, Drawn
from timbrel.data.engine import KILLED
from timbrel.data.pairs import Pairs
from timbrel.errors import DataError, TimbrelError
from timbrel.training.equaliser import Curves, Equaliser
from timbrel.training.run import generator
from timbrel.training.transposition import Transposition

AHEAD = 3  # draws in work or waiting, for each process
D = TypeVar("D")
Alteration = Equaliser | Transposition  # makes other timbres of those that are drawn


class Draw(NamedTuple):
    """All that is random in a part of a step.

    Attributes:
        items: as they travelled.
        changes: of each alteration: what is drawn for it.
        seed: of noise, flow times and dropped conditions.
    """

    items: Drawn
    changes: tuple[Curves | Tensor, ...]
    seed: int

    def batch(self, device: torch.device, alterations: Sequence[Alteration]) -> Batch:
        """The items on a device, altered there."""
        batch = self.items.to(device)
        for alteration, change in zip(alterations, self.changes, strict=True):
            batch = alteration.vary(batch, change)  # type: ignore[arg-type]
        return batch

    def source(self, device: torch.device) -> torch.Generator:
        """Of all other randomness."""
        return torch.Generator(device=device).manual_seed(self.seed)


class Numbered(Dataset[D | TimbrelError], ABC, Generic[D]):
    """Draws by number; an error is given like one, since processes would hide what it says."""

    @abstractmethod
    def draw(self, number: int) -> D:
        """The draw of a number.

        Raises:
            TimbrelError: an item cannot be read.
        """

    def __getitem__(self, number: int) -> D | TimbrelError:
        """The draw of a number, or why there is none."""
        try:
            return self.draw(number)
        except TimbrelError as error:
            return error

    def since(self, first: int, workers: int = 0, pinned: bool = False) -> Iterator[D]:
        """Draws in the order of their numbers, without end.

        Args:
            first: number of the first one.
            workers: processes that draw ahead; 0: this one, when it needs them.
            pinned: whether they lie where a GPU can fetch them by itself.

        Raises:
            TimbrelError: an item cannot be read, or a process was killed.
        """
        loader = DataLoader(
            self,
            batch_size=None,  # a draw is a batch already
            sampler=itertools.count(first),  # has no end
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            worker_init_fn=_outlast if workers else None,
            pin_memory=pinned,
        )
        try:
            for found in loader:
                if isinstance(found, TimbrelError):
                    raise found
                yield found
        except RuntimeError as error:  # so says the library when one of its processes is gone
            if "DataLoader worker" in str(error):
                raise DataError(KILLED) from error
            raise


class Draws(Numbered[Draw]):
    """What the steps of a model are made of.

    Args:
        pairs: of which items are drawn.
        size: items of a draw.
        rank: of the process that trains on them.
        purpose: keeps draws of different trainings apart.
        alterations: of their timbres, that are drawn with the items.
    """

    def __init__(
        self,
        pairs: Pairs,
        size: int,
        rank: int,
        purpose: int,
        alterations: Sequence[Alteration] = (),
    ) -> None:
        self.pairs, self.size, self.rank = pairs, size, rank
        self.purpose, self.alterations = purpose, alterations

    def draw(self, number: int) -> Draw:
        """See `Numbered`."""
        rng = generator(self.pairs.seed, number, self.rank, self.purpose)
        items = self.pairs.draw(self.size, rng)
        changes = tuple(alteration.draw(self.size, rng) for alteration in self.alterations)
        return Draw(items, changes, int(rng.integers(2**62)))


def workers_for(device: torch.device) -> int:
    """Processes that draw ahead, if nobody says how many.

    A processor that trains has no cores to spare; a GPU is faster than one core can draw. Processes
    that torchrun started on one machine share its cores.
    """
    if device.type != "cuda":
        return 0
    spare = (os.cpu_count() or 1) - 2
    return max(1, min(16, spare // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _outlast(_worker: int) -> None:
    """In a worker: it is for the one that trains to stop, and to stop the others then."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
