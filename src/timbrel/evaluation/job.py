"""What an evaluation asks: which cases, of whom."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbrel.data.render.soundfont import SoundFont
from timbrel.data.store import Store
from timbrel.errors import InputError
from timbrel.evaluation.cases import Case, case_name, draw_cases
from timbrel.evaluation.given import (
    FileRow,
    manifest_cases,
    name_of,
    read_manifest,
    store_cases,
    structure_of,
)
from timbrel.evaluation.identity import manifest_id, outputs_id, store_id, weights_id
from timbrel.evaluation.protocol import Protocol
from timbrel.evaluation.systems import (
    EXAMPLES,
    REFERENCES,
    System,
    check_apart,
    model_rows,
    model_title,
    references,
)

if TYPE_CHECKING:
    from timbrel.model import Timbrel

DRAWN = 3  # version of what cases sound like: those of another are other cases


@dataclass(frozen=True)
class Job:
    """What a worker needs to make the cases and put the systems to the test.

    Attributes:
        protocol: whose cases are rendered, unless `store` or `manifest` is given.
        fonts: paths of sound fonts to render with.
        store: renditions or recordings to draw cases from.
        manifest: list of cases with files.
        outputs: folders of files that are judged, by the manifest.
        model: to be judged: "default" or a folder.
        structure: what the model is given, "notes" or "audio"; "": as the manifest says, else what
            it reads, notes if it can.
        sampling: options of `Timbrel.render`.
        limit: cases per level at most.
        trust: whether the model's codec may be TorchScript.
    """

    protocol: Protocol | None = None
    fonts: tuple[str, ...] = ()
    store: str | None = None
    manifest: str | None = None
    outputs: tuple[str, ...] = ()
    model: str | None = None
    structure: str = "notes"
    sampling: tuple[tuple[str, float | int | None], ...] = ()
    limit: int | None = None
    trust: bool = False

    def check(self) -> None:
        """Find out before the work what cannot be done at all.

        Raises:
            TimbrelError: no such model, sampling that it cannot do or cases that it cannot read;
                or cases or rows that cannot be told apart.
        """
        rows = [*REFERENCES, *EXAMPLES]
        asked = None if self.manifest is None else read_manifest(Path(self.manifest))
        if self.model is not None:
            options: dict[str, Any] = dict(self.sampling)
            # a worker that is forked could not use a GPU that its parent has touched
            player = self.player("cpu")
            player.sampling(**options)
            reads = self.read_by(player)
            if reads == "audio" and asked is not None and not any(r.get("source") for r in asked):
                raise InputError(
                    f"{self.manifest} names no source, which the model {self.model} has to hear; "
                    "add audio of the notes as source"
                )
            rows.append(model_title(player.about, reads))
        rows += [folder_name(folder) for folder in self.outputs]
        for name in rows:
            if rows.count(name) > 1:
                raise InputError(
                    f"a folder of --outputs is called '{name}', as another row is; rename it"
                )
        check_apart(rows, "rows")
        if asked is not None:
            check_apart(map(name_of, asked), "cases")
        elif self.protocol is not None:
            check_apart((case_name(level, 0) for level in self.protocol.levels), "cases")

    def read_by(self, player: "Timbrel") -> str:
        """What the model is given: "notes" or "audio".

        Raises:
            InputError: it cannot read that, or the manifest's rows differ in it.
        """
        structure = self.structure
        if not structure and self.manifest is not None:
            structure = structure_of(Path(self.manifest))
        if not structure:
            return "notes" if player.reads_notes else "audio"
        if structure == "notes" and not player.reads_notes:
            raise InputError(
                f"the cases are notes, and the model {self.model} reads audio alone; choose cases "
                "of audio, such as those of the protocol timbre-transfer"
            )
        if structure == "audio" and player.reads_notes and player.listener is None:
            raise InputError(
                f"the cases are audio, and the model {self.model} reads notes alone; choose cases "
                "of notes, such as those of the protocol midi-to-audio"
            )
        return structure

    def player(self, device: str = "auto") -> "Timbrel":
        """The model."""
        from timbrel.model import load

        assert self.model is not None
        return load(self.model, device, self.trust)

    def cases(self) -> list[Callable[[], Case]]:
        """All cases, unrendered."""
        if self.manifest is not None:
            return manifest_cases(Path(self.manifest), self.limit)
        if self.store is not None:
            return store_cases(Store.open(self.store), self.limit)
        assert self.protocol is not None
        return draw_cases(self.protocol, [SoundFont(Path(f)) for f in self.fonts], self.limit)

    def systems(self) -> dict[str, System]:
        """All rows of the table."""
        rows = references()
        rows |= {folder_name(folder): FileRow(Path(folder)) for folder in self.outputs}
        if self.model is not None:
            player = self.player()
            rows |= model_rows(player, self.read_by(player), **dict(self.sampling))
        return rows

    def settings(self) -> dict[str, Any]:
        """What makes two runs the same: what files hold, not where they lie."""
        manifest = None if self.manifest is None else Path(self.manifest)
        judged = []
        if manifest is not None:  # else no file is asked for
            judged = [
                f"{folder_name(folder)} {outputs_id(Path(folder), manifest)}"
                for folder in self.outputs
            ]
        asked_of = asdict(self)
        del asked_of["trust"]  # changes nothing of the result
        return {
            **asked_of,
            "drawn": DRAWN,
            "fonts": [Path(f).name for f in self.fonts],
            "store": None if self.store is None else store_id(Path(self.store)),
            "manifest": None if manifest is None else manifest_id(manifest),
            "outputs": judged,
            "model": None if self.model is None else f"{self.model} {weights_id(self.model)}",
        }


def folder_name(folder: str) -> str:
    """What judged files are called in tables."""
    return Path(folder).resolve().name
