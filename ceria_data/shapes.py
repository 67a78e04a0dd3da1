"""Which lattice sites a crystal fills: slabs with an edge, and faceted particles."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from ceria_data.crystal import (
    BOND_STEPS,
    CERIUM,
    OXYGEN,
    Lattice,
    Vector,
    ViewAxes,
    cerium_planes,
    count,
    family,
    view_axes,
)
from ceria_data.errors import ConfigError
from ceria_data.parameters import StructureParameters

Floats = NDArray[np.float64]
Inside = Callable[[Floats], NDArray[np.bool_]]
"""Whether points (site, 3) [Å], along the cubic axes from the centre, are inside."""


@dataclass(frozen=True)
class Outline:
    """The outer boundary of a crystal.

    Attributes
    ----------
    inside : callable
        Array (site, 3) of points [Å] along the cubic axes, from the centre, to bool (site,).
    reach : float
        No point farther from the centre than this [Å] is inside.
    facets : str
        Families of planes that bound it.
    """

    inside: Inside
    reach: float
    facets: str


@dataclass(frozen=True)
class Window:
    """The Ce planes between the entrance and the exit face.

    Attributes
    ----------
    first : int
        Depth of the first plane.
    planes : int
    centre : array of float64, shape (3,)
        Centre of the crystal along x, y, z [a/4]; z is the middle of the planes.
    """

    first: int
    planes: int
    centre: Floats


def lay_window(parameters: StructureParameters, axes: ViewAxes) -> Window:
    """Choose the Ce planes between the faces, and the centre of the crystal.

    Parameters
    ----------
    parameters : StructureParameters
    axes : ViewAxes

    Returns
    -------
    Window
    """
    p = parameters
    planes = cerium_planes(axes, p.thickness_atoms, p.thickness_remainder)
    corner = 4 * np.array((p.offset_1, p.offset_2, p.offset_3))
    centre = (axes.matrix * corner).sum(axis=1)
    step = axes.cerium_plane_step
    first = step * round(float(centre[2]) / step - (planes - 1) / 2)
    centre[2] = first + step * (planes - 1) / 2
    return Window(first, planes, centre / axes.lengths)


def draw_outline(
    parameters: StructureParameters, thickness: float, rng: np.random.Generator
) -> Outline:
    """Make the outer boundary that a structure's kind asks for.

    Parameters
    ----------
    parameters : StructureParameters
    thickness : float
        Length along the beam [Å].
    rng : numpy.random.Generator
        Generator of the stage ``shape``.

    Returns
    -------
    Outline

    Raises
    ------
    ConfigError
        If the kind is unknown, or a slab's surface cannot be edge-on on the zone axis.
    """
    if parameters.kind not in KINDS:
        raise ConfigError(f"kind is {parameters.kind!r}; expected one of {', '.join(KINDS)}")
    return _OUTLINES[parameters.kind](parameters, thickness, rng)


def fill_sites(
    parameters: StructureParameters,
    lattice: Lattice,
    window: Window,
    outline: Outline,
    span: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Say which lattice sites belong to the crystal.

    Ce sites are those inside the outline and between the faces. An O site belongs to
    the crystal if at least three of its four Ce do, which cuts {111} between O-Ce-O
    trilayers; with two Ce it does by chance. Ce bound to fewer than two O are dropped.

    Parameters
    ----------
    parameters : StructureParameters
    lattice : Lattice
    window : Window
    outline : Outline
    span : float
        Steps of the faces lie within this distance of the centre [Å].
    rng : numpy.random.Generator
        Generator of the stage ``shape``, after `draw_outline`.

    Returns
    -------
    array of bool, shape (site,)

    References
    ----------
    .. [1] Lin et al., Nano Lett. 14, 191 (2014): terminations of {111}, {110} and {100}.
    """
    unit = parameters.lattice_parameter_A / 4
    axes = lattice.axes
    view = lattice.projected / axes.lengths - window.centre
    points = view @ (axes.matrix / axes.lengths[:, None])
    entrance, exit_ = _terraces(parameters, axes, window.planes, span, view[:, :2] * unit, rng)
    plane = (lattice.projected[:, 2] - window.first) / axes.cerium_plane_step
    cerium = (lattice.species == CERIUM) & outline.inside(points * unit)
    cerium &= (plane >= entrance) & (plane < window.planes - exit_)

    bonds = lattice.neighbours(BOND_STEPS)
    lucky = rng.random(len(plane)) < parameters.two_coordinated_oxygen
    while True:
        bound = count(cerium, bonds)
        oxygen = (lattice.species == OXYGEN) & ((bound >= 3) | ((bound == 2) & lucky))
        loose = cerium & (count(oxygen, bonds) < 2)
        if not loose.any():
            break
        cerium &= ~loose
    filled: NDArray[np.bool_] = cerium | oxygen
    return filled


def _terraces(
    parameters: StructureParameters,
    axes: ViewAxes,
    planes: int,
    span: float,
    across: Floats,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the planes missing at the entrance and the exit at points (site, 2) [Å]."""
    per_repeat = axes.cerium_repeat // axes.cerium_plane_step
    missing = np.zeros((2, len(across)), dtype=np.int64)
    for _ in range(parameters.n_terraces):
        side = rng.integers(2)
        angle = rng.uniform(0, 2 * np.pi)
        place = rng.uniform(-1, 1) * span
        depth = rng.integers(1, 2 * per_repeat + 1)
        beyond = across[:, 0] * np.cos(angle) + across[:, 1] * np.sin(angle) > place
        missing[side] += depth * beyond
    # The middle repeat stays everywhere, so that the crystal does not fall apart.
    spare = planes - per_repeat
    return np.minimum(missing[0], spare // 2), np.minimum(missing[1], spare - spare // 2)


def edge_normal(zone_axis: Vector) -> Vector:
    """Find the <110> normal of a slab's edge that lies in the image, nearest to +x.

    Parameters
    ----------
    zone_axis : tuple of int

    Returns
    -------
    tuple of int

    Raises
    ------
    ConfigError
        If no {110} plane is edge-on on this zone axis.

    Examples
    --------
    >>> edge_normal((1, 1, 0))
    (-1, 1, 0)
    """
    axes = view_axes(zone_axis)
    normals = [n for n in family((1, 1, 0)) if np.dot(n, axes.z) == 0]
    if not normals:
        raise ConfigError(
            f"slabs have a {{110}} edge, and zone_axis {list(zone_axis)} sees none edge-on; "
            "expected an axis with a <110> direction across it, such as [1, 1, 0], [1, 0, 0], "
            "[1, 1, 1] or [1, 1, 2]"
        )
    return max(normals, key=lambda n: (int(np.dot(n, axes.x)), n))


def _slab_flat(
    parameters: StructureParameters, _thickness: float, _rng: np.random.Generator
) -> Outline:
    out, _ = _edge_axes(parameters)
    return Outline(lambda r: r @ out <= parameters.edge_A + _TIE, inf, _named("{110}", parameters))


def _slab_sawtooth(
    parameters: StructureParameters, _thickness: float, _rng: np.random.Generator
) -> Outline:
    """Teeth of the two edge-on {111}, their mean height at the edge."""
    normal = edge_normal(parameters.zone_axis)
    z = view_axes(parameters.zone_axis).z
    facets = [f for f in family((1, 1, 1)) if np.dot(f, z) == 0 and np.dot(f, normal) > 0]
    if len(facets) != 2:
        raise ConfigError(
            "slab_sawtooth needs two {111} planes edge-on beside the {110} edge, and zone_axis "
            f"{list(parameters.zone_axis)} has {len(facets)}; expected a <110> axis, say [1, 1, 0]"
        )
    out, along = _edge_axes(parameters)
    slope, period = 1 / sqrt(2), parameters.period_A  # tan of {110} to {111}, 35.26°

    def inside(r: Floats) -> NDArray[np.bool_]:
        from_tip = np.abs(np.mod(r @ along, period) - period / 2)
        return r @ out <= parameters.edge_A + slope * (period / 4 - from_tip) + _TIE

    return Outline(inside, inf, _named("{111}", parameters))


def _slab_stepped(
    parameters: StructureParameters, _thickness: float, rng: np.random.Generator
) -> Outline:
    """Make steps of one {220} spacing, up and down, widths exponential above half the mean."""
    out, along = _edge_axes(parameters)
    widths = parameters.period_A * (0.5 + 0.5 * rng.exponential(size=_N_STEPS))
    risers = np.cumsum(widths) - rng.uniform(0.45, 0.55) * widths.sum()
    heights = np.zeros(_N_STEPS + 1)
    for i, draw in enumerate(rng.random(_N_STEPS)):
        # The farther from the mean surface, the likelier the way back: within two steps.
        up = draw < 0.5 - 0.25 * heights[i]
        heights[i + 1] = heights[i] + (1 if up else -1)
    spacing = parameters.lattice_parameter_A / sqrt(8)

    def inside(r: Floats) -> NDArray[np.bool_]:
        height = heights[np.searchsorted(risers, r @ along)]
        return r @ out <= parameters.edge_A + spacing * height + _TIE

    return Outline(inside, inf, _named("{110}", parameters))


SMALLEST = 5.0
"""Half the size of the smallest particle across the beam [Å]; a smaller one has few Ce that
are bound to anything."""
_N_STEPS = 128
_TIE = 1e-6
"""Sites nearer to a plane than this [Å] are on it, and inside."""


def _edge_axes(parameters: StructureParameters) -> tuple[Floats, Floats]:
    """Give unit vectors out of a slab's edge and along it."""
    normal = edge_normal(parameters.zone_axis)
    along = np.cross(view_axes(parameters.zone_axis).z, normal)
    return np.array(normal) / sqrt(2), along / np.linalg.norm(along)


def _half_size(parameters: StructureParameters, thickness: float) -> float:
    return max(parameters.aspect * thickness / 2, SMALLEST)


def _octahedron(
    parameters: StructureParameters, thickness: float, _rng: np.random.Generator
) -> Outline:
    """{111} faces; truncation 1 cuts the six corners to the cuboctahedron."""
    half = _half_size(parameters, thickness)
    cut = sqrt(3) * half * (1 - parameters.truncation / 2)
    planes = [(f, half) for f in family((1, 1, 1))] + [(f, cut) for f in family((1, 0, 0))]
    return _polyhedron(planes, sqrt(3) * half, "{111} {100}", parameters)


def _cube(parameters: StructureParameters, thickness: float, _rng: np.random.Generator) -> Outline:
    """{100} faces; truncation 1 cuts corners to the cuboctahedron and bevels the edges."""
    half = _half_size(parameters, thickness)
    corner = sqrt(3) * half * (1 - parameters.truncation / 3)
    bevel = sqrt(2) * half * (1 - parameters.truncation / 4)
    planes = [(f, half) for f in family((1, 0, 0))]
    planes += [(f, corner) for f in family((1, 1, 1))]
    planes += [(f, bevel) for f in family((1, 1, 0))]
    return _polyhedron(planes, sqrt(3) * half, "{100} {110} {111}", parameters)


def _rod(parameters: StructureParameters, thickness: float, _rng: np.random.Generator) -> Outline:
    """Along the <110> nearest to the image plane, with {111} and {100} sides."""
    axes = view_axes(parameters.zone_axis)
    axis = min(
        family((1, 1, 0)), key=lambda n: (abs(int(np.dot(n, axes.z))), -int(np.dot(n, axes.x)))
    )
    half = _half_size(parameters, thickness)
    end = parameters.elongation * half
    cut = sqrt(3) * half * (1 - parameters.truncation / 2)
    planes = [(f, half if np.dot(f, axis) == 0 else end) for f in family((1, 1, 1))]
    planes += [(f, cut) for f in family((1, 0, 0)) if np.dot(f, axis) == 0]
    return _polyhedron(planes, sqrt(3) * max(half, end), "{111} {100}", parameters)


def _irregular(
    parameters: StructureParameters, thickness: float, rng: np.random.Generator
) -> Outline:
    """Cut a ball by planes of random direction and distance: rough, of no one family."""
    half = _half_size(parameters, thickness)
    normals = rng.standard_normal((16, 3))
    normals /= np.sqrt((normals**2).sum(axis=1, keepdims=True))
    distances = half * rng.uniform(0.75, 1.15, size=len(normals))
    ball = 1.2 * half

    def inside(r: Floats) -> NDArray[np.bool_]:
        within: NDArray[np.bool_] = (r**2).sum(axis=1) <= ball**2
        return within & (r @ normals.T <= distances).all(axis=1)

    return Outline(inside, ball, _named("random", parameters))


def _polyhedron(
    planes: list[tuple[Vector, float]],
    reach: float,
    facets: str,
    parameters: StructureParameters,
) -> Outline:
    """Points on the inner side of every plane (direction, distance from the centre)."""
    directions = np.array([direction for direction, _ in planes], dtype=np.float64)
    normals = directions / np.sqrt((directions**2).sum(axis=1, keepdims=True))
    distances = np.array([distance for _, distance in planes]) + _TIE
    return Outline(
        lambda r: (r @ normals.T <= distances).all(axis=1), reach, _named(facets, parameters)
    )


def _named(facets: str, parameters: StructureParameters) -> str:
    """Add the family of the entrance and exit faces."""
    zone = sorted(map(abs, view_axes(parameters.zone_axis).z), reverse=True)
    face = "{" + "".join(map(str, zone)) + "}"
    return facets if face in facets else f"{facets} {face}"


_OUTLINES: dict[str, Callable[[StructureParameters, float, np.random.Generator], Outline]] = {
    "slab_flat": _slab_flat,
    "slab_sawtooth": _slab_sawtooth,
    "slab_stepped": _slab_stepped,
    "octahedron": _octahedron,
    "cube": _cube,
    "rod": _rod,
    "irregular": _irregular,
}

KINDS = tuple(_OUTLINES)
"""Names that `StructureParameters.kind` may have."""
