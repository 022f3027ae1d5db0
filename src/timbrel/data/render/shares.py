"""Which shares of what is rendered are of which kind."""

from dataclasses import dataclass

from timbrel.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of what is rendered is of which kind, each from 0 (none) to 1 (all).

    Args:
        synthesised: of the timbres, those of the own synthesiser; without sound fonts all are.
        recorded: of the timbres, those that are heard through a recording chain (`Recording`); the
            timbres themselves do not depend on it.
        expressive: of the timbres that can bend notes, those whose players do (`Manner`).
        hybrids: of the timbres, those that are made another instrument (`Hybrid`).
        modelled: of the timbres that are no drums, whatever they were, those that are made a
            modelled instrument (`Instrument`); the others do not depend on it.
        held: of the scores for pitched instruments, those whose notes are held for seconds.
        mixes: of the renditions, those that are whole pieces, played by ensembles.

    Raises:
        DataError: a share is not between 0 and 1.
    """

    synthesised: float = 0.4
    recorded: float = 0.0
    expressive: float = 0.3
    hybrids: float = 0.0
    modelled: float = 0.0
    held: float = 0.0
    mixes: float = 0.0

    def __post_init__(self) -> None:
        for name, share in (
            ("synthesised timbres", self.synthesised),
            ("recorded timbres", self.recorded),
            ("expressive timbres", self.expressive),
            ("hybrids", self.hybrids),
            ("modelled timbres", self.modelled),
            ("held scores", self.held),
            ("mixes", self.mixes),
        ):
            if not 0 <= share <= 1:
                raise DataError(f"the share of {name} must be between 0 and 1, not {share:g}")


USUAL = Shares()  # of calls that name none; `timbrel prepare render` has its own
