"""Whether the tables of a film agree with each other: events, structures and exposures."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_ROUNDING = 1e-9


def film_problems(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Check that events make the structures, and exposures follow from their times.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Rows of one film in every table.

    Yields
    ------
    str
        What is wrong.
    """
    structures, events = tables["structures"]["structure"].to_numpy(), tables["events"]
    if events["structure"].tolist() != structures[1:].tolist():
        yield "the events do not make its structures one after the other"
        return
    if (np.diff(events["time_s"].to_numpy()) < 0).any():
        yield "the events are not in the order of their times"
    yield from _replayed(tables["columns"], events, structures)
    yield from _exposed(tables["samples"], tables["exposures"], events, structures)


def _replayed(
    columns: pd.DataFrame, events: pd.DataFrame, structures: NDArray[np.int64]
) -> Iterator[str]:
    """Follow the events from the first structure on."""
    by_row = {
        row: own.set_index("site_id")["occupancy"] for row, own in columns.groupby("structure")
    }
    counts = by_row[structures[0]].copy()
    for event in events.to_dict("records"):
        for end, change in (("site_id_from", -1), ("site_id_to", 1)):
            if event[end] in counts.index:
                counts[event[end]] += change
            elif event[end] != -1:
                yield f"event {event['event']} names a column that the film has not"
                return
        if not counts.equals(by_row[event["structure"]]):
            yield f"structure {event['structure']} is not what event {event['event']} makes"
            return


def _exposed(
    samples: pd.DataFrame,
    exposures: pd.DataFrame,
    events: pd.DataFrame,
    structures: NDArray[np.int64],
) -> Iterator[str]:
    """Compare what each frame shows with the times of the events."""
    if not set(exposures["structure"]) <= set(structures.tolist()):
        yield "an exposure shows a structure of another film"
    sums = exposures.groupby("sample")["weight"].sum()
    if sums.index.tolist() != samples["sample"].tolist():
        yield "not every frame has an exposure"
        return
    if (exposures["weight"] <= 0).any() or (np.abs(sums - 1) > _ROUNDING).any():
        yield "the weights of an exposure do not sum to 1"
    longest = exposures.loc[exposures.groupby("sample")["weight"].idxmax()]
    if longest["structure"].tolist() != samples["structure"].tolist():
        yield "a frame has not the labels of the structure that it shows longest"
    starts, frames = samples["time_s"].to_numpy(), events["frame"].to_numpy()
    ends = np.append(starts[1:], np.inf)
    when, slack = events["time_s"].to_numpy(), 10 * _ROUNDING * (1 + starts[-1])
    if ((when < starts[frames] - slack) | (when > ends[frames] + slack)).any():
        yield "the frame of an event does not follow from its time"
