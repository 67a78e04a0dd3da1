"""Files of atoms that other programs open: extended XYZ and CIF."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MARGIN = 10.0
"""Empty space around the atoms in the cell [Å]."""


def write_extxyz(atoms: pd.DataFrame, file: Path, comment: str) -> None:
    """Write atoms as extended XYZ, with site and uncertainties for each.

    Parameters
    ----------
    atoms : DataFrame
        As from `atoms3d.atoms_of`.
    file : Path
    comment : str
        Kept as ``info["comment"]``; quotation marks and line ends become blanks. Positions plus
        ``info["origin"]`` are those in the film.

    References
    ----------
    .. [1] https://github.com/libAtoms/extxyz

    Examples
    --------
    >>> import tempfile
    >>> atoms = pd.DataFrame({
    ...     "species": ["Ce"], "x_A": [1.0], "y_A": [2.0], "z_A": [0.0], "site": [3],
    ...     "count_confidence": [0.9], "z_sd_A": [1.5],
    ... })
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_extxyz(atoms, Path(folder) / "one.extxyz", "an atom")
    ...     print((Path(folder) / "one.extxyz").read_text().splitlines()[-1])
    Ce 10.0000 10.0000 10.0000 3 0.9000 1.5000
    """
    shifted, size, origin = _in_cell(atoms)
    cell = " ".join(f"{v:.4f}" for v in np.diag(size).ravel())
    properties = "species:S:1:pos:R:3:site:I:1:count_confidence:R:1:z_sd_A:R:1"
    words = " ".join(comment.replace('"', " ").replace("\\", " ").split())
    away = " ".join(f"{v:.4f}" for v in origin)
    head = f'Lattice="{cell}" Properties={properties} pbc="F F F" origin="{away}" comment="{words}"'
    rows = zip(
        atoms["species"], *shifted.T, atoms["site"], atoms["count_confidence"], atoms["z_sd_A"],
        strict=True,
    )  # fmt: skip
    lines = [
        f"{name} {x:.4f} {y:.4f} {z:.4f} {site} {sure:.4f} {sd:.4f}"
        for name, x, y, z, site, sure, sd in rows
    ]
    file.write_text("\n".join([str(len(atoms)), head, *lines]) + "\n", encoding="utf-8")


def write_cif(atoms: pd.DataFrame, file: Path, name: str, comment: str) -> None:
    """Write atoms as CIF, in a cell with empty space around them and without symmetry.

    Parameters
    ----------
    atoms : DataFrame
        As from `atoms3d.atoms_of`.
    file : Path
    name : str
        Of the data block: letters, digits and underscores.
    comment : str

    References
    ----------
    .. [1] Hall, Allen and Brown, Acta Cryst. A47, 655 (1991).

    Examples
    --------
    >>> import tempfile
    >>> atoms = pd.DataFrame({"species": ["O"], "x_A": [1.0], "y_A": [2.0], "z_A": [0.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_cif(atoms, Path(folder) / "one.cif", "one", "an atom")
    ...     print((Path(folder) / "one.cif").read_text().splitlines()[-1])
    O1 O 0.500000 0.500000 0.500000 1.0
    """
    shifted, size, _ = _in_cell(atoms)
    words = " ".join(comment.split())
    head = [f"# {words}", f"data_{name}"]
    head += [f"_cell_length_{axis} {v:.4f}" for axis, v in zip("abc", size, strict=True)]
    head += [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
    head += [
        "_symmetry_space_group_name_H-M 'P 1'", "_symmetry_Int_Tables_number 1", "loop_",
        "_symmetry_equiv_pos_as_xyz", "'x, y, z'", "loop_", "_atom_site_label",
        "_atom_site_type_symbol", "_atom_site_fract_x", "_atom_site_fract_y",
        "_atom_site_fract_z", "_atom_site_occupancy",
    ]  # fmt: skip
    lines = [
        f"{species}{i + 1} {species} {x:.6f} {y:.6f} {z:.6f} 1.0"
        for i, (species, (x, y, z)) in enumerate(zip(atoms["species"], shifted / size, strict=True))
    ]
    file.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


def _in_cell(atoms: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Positions from the corner of a cell, its edges, and its corner in the film [Å]."""
    positions = atoms[["x_A", "y_A", "z_A"]].to_numpy(dtype=float)
    if not len(positions):
        return positions, np.full(3, 2 * MARGIN), np.zeros(3)
    lowest = positions.min(axis=0)
    size: Floats = np.ptp(positions, axis=0) + 2 * MARGIN
    return positions - lowest + MARGIN, size, lowest - MARGIN
