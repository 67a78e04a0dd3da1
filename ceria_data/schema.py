"""Names, shapes, types and units of everything a dataset holds: the treaty with its readers.

This module and `store`, `dataset`, `targets` need neither abTEM nor Dask, so that
`ceria_models` can read a dataset without the generator.
"""

from dataclasses import dataclass

FORMAT_VERSION = 1
SPECIES = ("Ce", "O")
COORDINATE_STEP = 1e-4
"""Coordinates are rounded to this step [Å] before anything is derived from them."""
PAINT_RADIUS = 0.6
"""Radius of a column's disk in the class map [Å]; Ce and O columns are 1.353 Å apart."""
AMBIGUOUS_SMEAR = 0.67
"""A column whose atoms project farther apart than this [Å] is marked ambiguous."""
SAMPLES_PER_STRUCTURE_KEY = 65536
"""Sample number = structure number x this + position, so that adding images renumbers none."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of `data.zarr`."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    description: str


ARRAYS = (
    ArraySpec("counts", ("sample", "y", "x"), "uint16", "what the camera recorded"),
    ArraySpec(
        "intensity",
        ("sample", "y", "x"),
        "float16",
        "noise-free image, integrated over the pixel, before the camera; 1 = vacuum",
    ),
    ArraySpec(
        "occupancy",
        ("structure", "species", "y", "x"),
        "uint8",
        "class of the column at each pixel: 0 = background, else atoms in the column, at most K",
    ),
    ArraySpec(
        "volume",
        ("structure", "plane", "y", "x"),
        "uint8",
        "atoms by ideal lattice plane along the beam: 0 = none, 1 = Ce, 2 = O, 3 = both",
    ),
)


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: str
    unit: str
    description: str


@dataclass(frozen=True)
class TableSpec:
    """One parquet file."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def dtypes(self) -> dict[str, str]:
        """Pandas type of every column, in order."""
        return {column.name: column.dtype for column in self.columns}


def _columns(text: str) -> tuple[Column, ...]:
    """Read ``name | dtype | unit | description`` lines."""
    rows = (line.split("|") for line in text.strip().splitlines())
    return tuple(Column(*(cell.strip() for cell in row)) for row in rows)


SAMPLES = TableSpec(
    "samples",
    "one image",
    _columns("""
    sample              | int64   |        | row of counts and intensity
    number              | int64   |        | key of the random streams; stays when a dataset grows
    structure           | int64   |        | row of occupancy and volume
    particle            | int64   |        | the object; splits go by particle
    frame               | int64   |        | time step; 0 in a still dataset
    time_s              | float64 | s      | start of the exposure
    split               | str     |        | train, validation, test or a test out of distribution
    dose_e_per_A2       | float64 | e-/Å²  | electrons per area in this exposure
    sampling_A          | float64 | Å      | pixel size at the specimen
    energy_keV          | float64 | keV    | energy of the beam
    defocus_A           | float64 | Å      | positive = underfocus, zero at the particle's mean z
    A1_A                | float64 | Å      | twofold astigmatism C12
    A1_azimuth_deg      | float64 | °      | its direction
    B2_A                | float64 | Å      | axial coma, C21 = 3 B2
    B2_azimuth_deg      | float64 | °      | its direction
    A2_A                | float64 | Å      | threefold astigmatism C23
    A2_azimuth_deg      | float64 | °      | its direction
    C30_um              | float64 | µm     | spherical aberration
    C50_mm              | float64 | mm     | spherical aberration of fifth order
    focal_spread_A      | float64 | Å      | 1/e width of the distribution of focus
    angular_spread_mrad | float64 | mrad   | 1/e width of the distribution of illumination angles
    aperture_mrad       | float64 | mrad   | semi-angle of the objective aperture
    camera              | str     |        | counting or integrating
    gain                | float64 | 1/e-   | recorded units per electron
    offset              | float64 |        | recorded units without electrons
    readout_noise       | float64 |        | rms read-out noise, recorded units
    mtf_half            | float64 |        | frequency of MTF 1/2 in units of Nyquist
    mtf_power           | float64 |        | steepness of the MTF
    ntf_half            | float64 |        | frequency of NTF 1/2 in units of Nyquist
    ntf_power           | float64 |        | steepness of the NTF
    camera_seed         | int64   |        | key of the per-pixel draw of counts from intensity
    drift_x_A           | float64 | Å      | shift of the labels of this image
    drift_y_A           | float64 | Å      | shift of the labels of this image
    """),
)

STRUCTURES = TableSpec(
    "structures",
    "one configuration of atoms in one pose",
    _columns("""
    structure               | int64   |      | row of occupancy and volume
    number                  | int64   |      | key of the random streams; stays when a dataset grows
    particle                | int64   |      | the object it shows
    split                   | str     |      | train, validation, test or a test out of distribution
    kind                    | str     |      | shape family
    facets                  | str     |      | lattice planes that bound the shape
    zone_axis               | str     |      | direction of the beam in the crystal, Miller indices
    lattice_parameter_A     | float64 | Å    | edge of the cubic cell
    thickness_atoms         | int64   |      | atoms in the thickest Ce column allowed
    thickness_remainder     | float64 |      | share of the last repeat cut away; sets the parity
    aspect                  | float64 |      | particles: size across the beam over thickness
    elongation              | float64 |      | rods: length over width
    truncation              | float64 |      | particles: how far corners are cut, 0 to 1
    offset_1                | float64 |      | centre of the particle in the unit cell, 0 to 1
    offset_2                | float64 |      | the same
    offset_3                | float64 |      | the same
    edge_A                  | float64 | Å    | slabs: surface from the middle of the field
    period_A                | float64 | Å    | slabs: period of saw teeth or mean width of steps
    n_terraces              | int64   |      | steps on the entrance and exit faces
    two_coordinated_oxygen  | float64 |      | share of two-coordinated surface O sites present
    rotation_deg            | float64 | °    | in-plane rotation
    shift_x_A               | float64 | Å    | shift of the particle from the middle of the field
    shift_y_A               | float64 | Å    | the same along y
    mistilt_deg             | float64 | °    | angle between zone axis and beam
    mistilt_azimuth_deg     | float64 | °    | direction of the tilt axis in the image
    oxygen_vacancy_fraction | float64 |      | share of O sites emptied
    oxygen_vacancy_arrangement | str  |      | random, clustered or surface
    cerium_vacancy_fraction | float64 |      | share of Ce sites emptied
    n_cerium_adatoms        | int64   |      | Ce adatoms asked for
    n_oxygen_adatoms        | int64   |      | O adatoms asked for
    relaxation_A            | float64 | Å    | displacement of the neighbours of a vacancy
    static_displacement_A   | float64 | Å    | rms static disorder per axis
    rms_Ce_A                | float64 | Å    | rms thermal displacement of Ce per axis
    rms_O_A                 | float64 | Å    | rms thermal displacement of O per axis
    surface_rms_factor      | float64 |      | times larger at under-coordinated atoms
    n_phonons               | int64   |      | frozen-phonon configurations averaged
    support_thickness_A     | float64 | Å    | amorphous carbon; 0 = none
    support_side            | str     |      | entrance or exit
    n_Ce                    | int64   |      | Ce atoms present
    n_O                     | int64   |      | O atoms present
    n_Ce_vacancies          | int64   |      | Ce sites emptied
    n_O_vacancies           | int64   |      | O sites emptied
    max_occupancy_Ce        | int64   |      | atoms in the fullest Ce column
    max_occupancy_O         | int64   |      | atoms in the fullest O column
    thickness_A             | float64 | Å    | extent of the atoms along the beam
    """),
)

COLUMNS = TableSpec(
    "columns",
    "one atomic column of a structure",
    _columns("""
    structure   | int64   |   | row of occupancy and volume
    site_id     | int64   |   | name of the column within the structure
    species     | str     |   | Ce or O
    x_A         | float64 | Å | mean projected position along the last array axis
    y_A         | float64 | Å | mean projected position along the first image axis
    occupancy   | int64   |   | atoms present; never clipped
    sites       | int64   |   | lattice sites before defects
    n_vacancies | int64   |   | sites that are empty
    n_adatoms   | int64   |   | atoms on sites outside the shape
    z_first_A   | float64 | Å | first atom along the beam; NaN where the column is empty
    z_last_A    | float64 | Å | last atom along the beam
    z_mean_A    | float64 | Å | mean of the atoms present
    surface     | str     |   | edge, surface, subsurface or bulk, seen along the beam
    ambiguous   | bool    |   | atoms project farther apart than 0.67 Å
    in_field    | bool    |   | inside the stored image
    """),
)

ATOMS = TableSpec(
    "atoms",
    "one atom of a structure",
    _columns("""
    structure | int64   |   | row of occupancy and volume
    species   | str     |   | Ce or O
    x_A       | float64 | Å | without thermal displacement
    y_A       | float64 | Å | the same
    z_A       | float64 | Å | along the beam, relative to the particle's mean z
    plane     | int64   |   | ideal lattice plane along the beam, index of volume
    site_id   | int64   |   | column of the atom
    """),
)

SUPPORT = TableSpec(
    "support",
    "one carbon atom of a support",
    _columns("""
    structure | int64   |   | row of occupancy and volume
    x_A       | float64 | Å | without thermal displacement
    y_A       | float64 | Å | the same
    z_A       | float64 | Å | the same
    """),
)

EVENTS = TableSpec(
    "events",
    "one event of a film",
    _columns("""
    event        | int64   |   | its number in the film, by time
    particle     | int64   |   | the film
    structure    | int64   |   | the structure that it makes of the one before
    time_s       | float64 | s | from the start of the first exposure of the film
    frame        | int64   |   | the frame during which it happens
    kind         | str     |   | what happens
    species      | str     |   | Ce or O; empty for a tilt
    site_id_from | int64   |   | column that loses an atom; -1 = none
    site_id_to   | int64   |   | column that gains an atom; -1 = none
    plane_from   | int64   |   | lattice plane of the lost atom, index of volume; -1 = none
    plane_to     | int64   |   | lattice plane of the gained atom; -1 = none
    """),
)

EXPOSURES = TableSpec(
    "exposures",
    "one structure that a frame of a film shows",
    _columns("""
    sample    | int64   |   | row of counts and intensity
    structure | int64   |   | row of occupancy and volume
    weight    | float64 |   | share of the exposure's time; those of a sample sum to 1
    """),
)

LIMITS = TableSpec(
    "limits",
    "one pair of images: with and without one atom",
    _columns("""
    pair            | int64   |           | row of limits.zarr/difference
    structure       | int64   |           | row of occupancy and volume
    sample          | int64   |           | image whose optics and dose are used
    site_id         | int64   |           | column that lacks an atom
    case            | str     |           | end, inner or inner_relaxed
    species         | str     |           | Ce or O
    occupancy       | int64   |           | atoms in the complete column
    atom_z_A        | float64 | Å         | depth of the missing atom
    first_y         | int64   | pixel     | row of the image at which the difference begins
    first_x         | int64   | pixel     | column of the image at which the difference begins
    d2_per_e_per_A2 | float64 | Å²/e-     | squared d' of the ideal observer, over dose
    """),
)

CEILING = TableSpec(
    "ceiling",
    "one column whose other possible counts and shifts were simulated",
    _columns("""
    column    | int64   |       | row of ceiling.zarr/difference and gradient
    structure | int64   |       | row of occupancy and volume
    sample    | int64   |       | image whose optics are used
    site_id   | int64   |       | column that is changed
    species   | str     |       | Ce or O
    x_A       | float64 | Å     | mean projected position along the last array axis
    y_A       | float64 | Å     | mean projected position along the first image axis
    occupancy | int64   |       | atoms present
    lowest    | int64   |       | fewest atoms among the candidates
    highest   | int64   |       | most atoms among the candidates
    first_y   | int64   | pixel | row of the image at which the patch begins
    first_x   | int64   | pixel | column of the image at which the patch begins
    """),
)

TABLES = (SAMPLES, STRUCTURES, COLUMNS, ATOMS, SUPPORT)
"""Tables of every dataset."""
FILM_TABLES = (EVENTS, EXPOSURES)
"""Tables that a dataset of films has besides."""


def tables_of(films: bool) -> tuple[TableSpec, ...]:
    """Name the tables of a dataset of films, or of a still one."""
    return (*TABLES, *FILM_TABLES) if films else TABLES
