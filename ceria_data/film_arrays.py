"""Films in .npy files."""

from pathlib import Path

import numpy as np

from ceria_data.errors import FilmError
from ceria_data.film import Film, film_of_array


def film_of_npy(path: Path) -> Film:
    """Map a .npy file; it does not say its sampling."""
    try:
        # Mapped, so that a header cannot ask for more memory than the file has bytes.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FilmError(f"{path} cannot be read: {error}") from error
    return film_of_array(values, source=str(path))
