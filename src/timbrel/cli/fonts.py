"""`timbrel fonts`: which sound fonts are here."""

from timbrel.errors import TimbrelError


def fonts() -> None:
    """List the sound fonts that rendering can use, and how to get some."""
    from timbrel.data.render.soundfont import SoundFont, find_fonts

    found = find_fonts()
    for path in found:
        font = SoundFont(path)
        try:
            count = len(font.presets())
        except TimbrelError as error:
            print(f"{path}: {error}")
            continue
        use = "training and evaluation" if font.free else "evaluation only"
        print(f"{path}: {count} presets, licence {font.licence}, family {font.family}: {use}")
    if not found:
        print("no sound font found; the own synthesiser needs none")
    print("Debian and Ubuntu have free ones: make fonts")
    print("or set TIMBREL_FONTS to files or folders with .sf2 and .sf3")
