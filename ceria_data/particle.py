"""From the drawn record of a structure to its atoms."""

from dataclasses import replace
from typing import Any

from ceria_data.grid import Cell, Field
from ceria_data.parameters import StructureParameters
from ceria_data.scene import arrange, set_scene, share
from ceria_data.structure import Structure


def build_structure(
    parameters: StructureParameters, field: Field, cell: Cell, seed: int
) -> Structure:
    """Build the atoms of one structure in its pose.

    The crystal is cut out of the lattice, gets its defects and their relaxation, is
    rotated about the beam, tilted and shifted, and loses the columns that do not lie
    in the cell. Then the support is laid against it.

    Parameters
    ----------
    parameters : StructureParameters
    field : Field
        Pixels of the stored images.
    cell : Cell
        Where atoms may be; larger crystals run out of it.
    seed : int
        The dataset's seed.

    Returns
    -------
    Structure
        Equal for equal arguments.

    Raises
    ------
    ConfigError
        If the kind or the arrangement of vacancies is unknown, or the zone axis does not
        show the slab's surface edge-on.
    StructureError
        If no atom lies in the cell.

    Examples
    --------
    >>> from ceria_data.grid import cell_around
    >>> field = Field((100, 120), 0.2)
    >>> structure = build_structure(
    ...     perfect("slab_flat", 5), field, cell_around(field, 0.1, 4.0), seed=0
    ... )
    >>> structure.facets, int(structure.columns.sites.max())
    ('{110}', 5)
    """
    scene = set_scene(parameters, field, cell, seed)
    return arrange(scene, share(scene, scene.present), scene.present, parameters)


def perfect(kind: str, thickness_atoms: int, **changes: Any) -> StructureParameters:
    """Give the record of a perfect crystal on [110], in the middle, at room temperature.

    Parameters
    ----------
    kind : str
        One of `ceria_data.shapes.KINDS`.
    thickness_atoms : int
        Atoms in the thickest Ce column.
    **changes
        Other fields of `StructureParameters`.

    Returns
    -------
    StructureParameters

    Examples
    --------
    >>> perfect("cube", 4, mistilt_deg=1.0).mistilt_deg
    1.0
    """
    plain = StructureParameters(
        number=0,
        kind=kind,
        zone_axis=(1, 1, 0),
        lattice_parameter_A=5.411,
        thickness_atoms=thickness_atoms,
        thickness_remainder=0.0,
        aspect=1.0,
        elongation=2.0,
        truncation=0.5,
        offset_1=0.1,
        offset_2=0.2,
        offset_3=0.3,
        edge_A=0.0,
        period_A=16.233,
        n_terraces=0,
        two_coordinated_oxygen=0.0,
        rotation_deg=0.0,
        shift_x_A=0.0,
        shift_y_A=0.0,
        mistilt_deg=0.0,
        mistilt_azimuth_deg=0.0,
        oxygen_vacancy_fraction=0.0,
        oxygen_vacancy_arrangement="random",
        cerium_vacancy_fraction=0.0,
        n_cerium_adatoms=0,
        n_oxygen_adatoms=0,
        relaxation_A=0.0,
        static_displacement_A=0.0,
        rms_Ce_A=0.06,
        rms_O_A=0.08,
        surface_rms_factor=1.5,
        n_phonons=1,
        support_thickness_A=0.0,
        support_side="exit",
    )
    return replace(plain, **changes)
