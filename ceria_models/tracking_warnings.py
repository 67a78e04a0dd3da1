"""What a reader of tracks has to know before believing them."""

import numpy as np

from ceria_models.film_tables import ASSUMED_S, FilmTables
from ceria_models.film_tracks import Tracked
from ceria_models.tracked_sites import TrackedSites

_CROWDED = 0.1
"""Changes of a column from frame to frame, on average, above which many fall together."""


def tracking_warnings(tables: FilmTables, found: TrackedSites, tracked: Tracked) -> list[str]:
    """Say what makes events and rates of a film doubtful.

    Parameters
    ----------
    tables : FilmTables
    found : TrackedSites
    tracked : Tracked

    Returns
    -------
    list of str
    """
    warnings = []
    if not tables.timed:
        warnings.append(
            f"the film does not say its frame time; {ASSUMED_S:.4f} s are assumed, and all times "
            "and rates go with them: predict with --frame-time"
        )
    if found.lattice is None and len(found.table):
        warnings.append(
            "the sites do not fit the lattice of CeO2 along [110], [100] or [111]: neighbours and "
            "surface go by distance, facets are not known, atoms do not lie on lattice planes"
        )
    times = tables.frames["time_s"].to_numpy(dtype=float)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    for species, chain in tracked.chains.items():
        rate = max(chain.gain_per_s, chain.loss_per_s)
        if rate * step > _CROWDED:
            warnings.append(
                f"{species} columns change every {1 / rate:.3g} s, and a frame follows after "
                f"{step:.3g} s: changes of a column between the same two frames are counted as "
                "one, so that rates are too low; sum or skip fewer frames, or record faster"
            )
    moved = tracked.gain + tracked.loss
    together = moved.sum(axis=1) if moved.size else np.zeros(1)
    if len(found.table) >= 10 and together.max() > 0.2 * len(found.table):
        frame = int(tables.frames["frame"].iloc[int(together.argmax()) + 1])
        warnings.append(
            f"{together.max():.0f} of {len(found.table)} columns change at frame {frame}: the "
            "image changed (focus, tilt, drift) rather than the atoms; look at the events there"
        )
    return warnings
