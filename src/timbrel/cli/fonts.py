"""`timbrel fonts`: which sound fonts are here."""

from typing import TYPE_CHECKING, Annotated

import typer

from timbrel.errors import TimbrelError

if TYPE_CHECKING:
    from timbrel.data.render.soundfont import SoundFont

PACKAGES = (
    "musescore-general-soundfont-small timgm6mb-soundfont opl3-soundfont fluidr3mono-gm-soundfont"
)


def fonts(
    check: Annotated[
        bool, typer.Option("--check", help="Listen to all presets and list faults.")
    ] = False,
) -> None:
    """List the sound fonts that rendering can use, and how to get some."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from timbrel.data.render.soundfont import SoundFont, find_fonts

    console = Console()
    table = Table("presets", "licence", "family", "used for", box=None)
    table.add_column("font", overflow="fold")  # a path cut short would be of no use
    messages = []
    for path in find_fonts():
        font = SoundFont(path)
        try:
            count = len(font.presets())
            if check:
                messages += _faults(font)
        except TimbrelError as error:
            messages.append(str(error))
            continue
        use = "training, evaluation" if font.free else "evaluation only"
        table.add_row(str(count), font.licence, escape(font.family), use, escape(str(path)))
    if table.row_count:
        console.print(table)
    else:
        console.print("no sound font found; the own synthesiser needs none")
    for message in messages:
        console.print(message, markup=False)
    # no wrapping: the line is there to be copied
    console.print("Debian and Ubuntu have some:", soft_wrap=True)
    console.print(f"  apt-get install {PACKAGES}", soft_wrap=True)
    console.print(
        "or set TIMBREL_FONTS to files or folders with .sf2 and .sf3. Those of unknown "
        "licence are used for evaluation only.",
        soft_wrap=True,
    )


def _faults(font: "SoundFont") -> list[str]:
    """What is wrong with a font's presets, a line each."""
    from timbrel.data.render.inspection import inspect

    found = inspect(font)
    left_out = f"{len(found.faults)} of {len(font.presets())} presets are not used"
    names = {(p.bank, p.program): p.name for p in font.presets()}
    late = f"; sounds are {1000 * found.latency:.1f} ms late, which is cut off"
    return [f"{font.path.name}: {left_out}{late if found.latency > 0.0005 else ''}"] + [
        f"  bank {place[0]}, program {place[1]}, {names[place]}: {why}"
        for place, why in (found.faults | _other_octaves(found.octaves)).items()
    ]


def _other_octaves(octaves: dict[tuple[int, int], int]) -> dict[tuple[int, int], str]:
    """What is said of presets that do not sound where they are written."""
    said = {}
    for place, by in octaves.items():
        far = f"{abs(by)} octave{'s' if abs(by) > 1 else ''}"
        way, back = ("high", "lower") if by > 0 else ("low", "higher")
        said[place] = f"sounds {far} {way}, so it is played {back}"
    return said
