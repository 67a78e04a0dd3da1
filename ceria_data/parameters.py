"""The drawn record of a structure and of an image: every value that a table row keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class StructureParameters:
    """All drawn numbers of one structure; field names are the columns of `structures.parquet`.

    Floats are rounded to nine significant digits when drawn, so that the table holds
    exactly what was simulated. `number` names the random streams of the structure.
    """

    number: int
    kind: str
    zone_axis: tuple[int, int, int]
    lattice_parameter_A: float
    thickness_atoms: int
    """Atoms in the thickest Ce column allowed, at most."""
    thickness_remainder: float
    """0 to 1: how much of the last repeat along the beam is cut away, which sets the parity."""
    aspect: float
    """Particles: size across the beam over thickness."""
    elongation: float
    """Rods: length over width."""
    truncation: float
    """Particles: 0 keeps the corners, 1 cuts them to the next shape of the family."""
    offset_1: float
    offset_2: float
    offset_3: float
    """0 to 1: where in the unit cell the centre of the particle lies."""
    edge_A: float
    """Slabs: distance of the surface from the middle of the field, positive = more crystal."""
    period_A: float
    """Slabs: period of saw teeth, mean width of steps along the surface."""
    n_terraces: int
    """Steps on the entrance and exit faces."""
    two_coordinated_oxygen: float
    """Share of two-coordinated surface O sites that are present."""
    rotation_deg: float
    shift_x_A: float
    shift_y_A: float
    mistilt_deg: float
    mistilt_azimuth_deg: float
    oxygen_vacancy_fraction: float
    oxygen_vacancy_arrangement: str
    """random, clustered or surface."""
    cerium_vacancy_fraction: float
    n_cerium_adatoms: int
    n_oxygen_adatoms: int
    relaxation_A: float
    static_displacement_A: float
    rms_Ce_A: float
    rms_O_A: float
    surface_rms_factor: float
    n_phonons: int
    support_thickness_A: float
    support_side: str
    """entrance or exit."""


@dataclass(frozen=True)
class Camera:
    """What turns electrons into recorded numbers.

    Attributes
    ----------
    kind : str
        ``counting`` (every electron is one count) or ``integrating``.
    gain : float
        Recorded units per electron.
    offset : float
        Recorded units without electrons.
    readout_noise : float
        Standard deviation of the read-out noise [recorded units].
    mtf_half, mtf_power : float
        ``MTF(q) = 1 / (1 + (q / mtf_half)**mtf_power)``, q in units of the Nyquist
        frequency of the camera; the integration over the pixel's area is not in it.
    ntf_half, ntf_power : float
        The same for the noise transfer function.
    """

    kind: str = "counting"
    gain: float = 1.0
    offset: float = 0.0
    readout_noise: float = 0.0
    mtf_half: float = float("inf")
    mtf_power: float = 2.0
    ntf_half: float = float("inf")
    ntf_power: float = 2.0


def camera_from_row(row: Mapping[Any, Any]) -> Camera:
    """Describe the camera of a sample from its row of `samples.parquet`.

    Parameters
    ----------
    row : mapping

    Returns
    -------
    Camera

    Raises
    ------
    KeyError
        If a column is missing.

    Examples
    --------
    >>> row = {field.name: getattr(Camera(), field.name) for field in fields(Camera)}
    >>> camera_from_row(row | {"camera": "counting"}) == Camera()
    True
    """
    names = (field.name for field in fields(Camera))
    return Camera(**{name: row["camera" if name == "kind" else name] for name in names})


@dataclass(frozen=True)
class ImageParameters:
    """All drawn numbers of one image; field names are the columns of `samples.parquet`."""

    number: int
    energy_keV: float
    defocus_A: float
    """Positive = underfocus, referred to the mean z of the particle."""
    A1_A: float
    A1_azimuth_deg: float
    """Twofold astigmatism, C12."""
    B2_A: float
    B2_azimuth_deg: float
    """Axial coma as abTEM's C21 = 3 B2."""
    A2_A: float
    A2_azimuth_deg: float
    """Threefold astigmatism, C23."""
    C30_um: float
    C50_mm: float
    focal_spread_A: float
    angular_spread_mrad: float
    aperture_mrad: float
    dose_e_per_A2: float
    camera: str
    gain: float
    offset: float
    readout_noise: float
    mtf_half: float
    mtf_power: float
    ntf_half: float
    ntf_power: float
    camera_seed: int
    """Key of the per-pixel draw: `detector.record` repeats the counts from the stored intensity."""
