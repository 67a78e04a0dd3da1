"""How events and surfaces of a film are called and coloured, in pictures and on the page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of event.

    Attributes
    ----------
    words : str
    colour : str
        Of Okabe and Ito's palette, which colour-blind people tell apart.
    marker : str
        Of matplotlib, so that no kind is told by its colour alone.
    """

    words: str
    colour: str
    marker: str


KINDS = {
    "migration": Kind("Ce migration", "#0072B2", "o"),
    "arrival": Kind("Ce arrival", "#009E73", "^"),
    "departure": Kind("Ce departure", "#D55E00", "v"),
    "vacancy_creation": Kind("O vacancy creation", "#CC79A7", "X"),
    "vacancy_filling": Kind("O vacancy filling", "#56B4E9", "P"),
    "vacancy_migration": Kind("O vacancy migration", "#E69F00", "D"),
}


def kind_of(name: str) -> Kind:
    """Describe a kind of event; one that is new here is grey and keeps its name.

    Examples
    --------
    >>> kind_of("migration").words
    'Ce migration'
    >>> kind_of("tilt")
    Kind(words='tilt', colour='#888888', marker='s')
    """
    return KINDS.get(name, Kind(name.replace("_", " "), "#888888", "s"))


def place_of(surface: str, facet: str) -> str:
    """Name a class of columns.

    Examples
    --------
    >>> place_of("edge", "111"), place_of("bulk", "")
    ('edge {111}', 'bulk')
    """
    return f"{surface} {{{facet}}}" if facet else surface


def decimals(frame_time_s: float | None) -> int:
    """Decide how many decimals of seconds tell frames apart.

    Examples
    --------
    >>> decimals(0.04), decimals(1.0), decimals(None)
    (3, 1, 2)
    """
    if not frame_time_s:
        return 2
    places = 1
    while places < 7 and frame_time_s * 10**places < 9.99:
        places += 1
    return places
