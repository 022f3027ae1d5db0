"""`timbrel fonts`: which sound fonts are here."""

from timbrel.errors import TimbrelError

PACKAGES = "musescore-general-soundfont-small timgm6mb-soundfont opl3-soundfont"


def fonts() -> None:
    """List the sound fonts that rendering can use, and how to get some."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from timbrel.data.render.soundfont import SoundFont, find_fonts

    console = Console()
    table = Table("presets", "licence", "family", "used for", box=None)
    table.add_column("font", overflow="fold")  # a path cut short would be of no use
    broken = []
    for path in find_fonts():
        font = SoundFont(path)
        try:
            count = len(font.presets())
        except TimbrelError as error:
            broken.append(str(error))
            continue
        use = "training, evaluation" if font.free else "evaluation only"
        table.add_row(str(count), font.licence, escape(font.family), use, escape(str(path)))
    if table.row_count:
        console.print(table)
    else:
        console.print("no sound font found; the own synthesiser needs none")
    for message in broken:
        console.print(message, markup=False)
    # no wrapping: the line is there to be copied
    console.print("Debian and Ubuntu have some:", soft_wrap=True)
    console.print(f"  apt-get install {PACKAGES}", soft_wrap=True)
    console.print(
        "or set TIMBREL_FONTS to files or folders with .sf2 and .sf3. Those of unknown "
        "licence are used for evaluation only.",
        soft_wrap=True,
    )
