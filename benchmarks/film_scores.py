"""What a predicted and tracked film says, against its truth: counts, events, vacancies."""

import numpy as np
import pandas as pd

from ceria_data.schema import SPECIES
from ceria_models.column_scoring import (
    LASTING_S,
    calibration_error,
    calibration_error_by_chance,
    lasting_vacancies_seen,
    score_columns,
    vacancy_readings,
)
from ceria_models.film_scoring import as_changes, lasting, score_events, with_places
from ceria_models.film_truth import SAME_COLUMN as SAME_COLUMN  # for the other benchmarks
from ceria_models.film_truth import film_truth as truth_of
from ceria_models.film_truth import reading_cube as cube

SIDES = {"before": "readings", "after": "tracks"}
WINDOWS = {"Ce": 0.2, "O": 0.5}
DRAWS = 1000


def cells(films):
    """Add up the films of a row."""
    vacancies = [film["vacancies"] for film in films]
    bins = {name: np.concatenate([film["bins"][name] for film in films]) for name in SIDES}
    films = [{k: film[k] for k in film if k not in ("vacancies", "bins")} for film in films]
    rng = np.random.default_rng(0)
    draws = rng.integers(len(films), size=(DRAWS, len(films)))
    total = {key: np.array([film[key] for film in films], dtype=float) for key in films[0]}

    def share(top, bottom):
        values, low_high = ratio(total, top, bottom, slice(None)), []
        if np.isfinite(values):
            drawn = [ratio(total, top, bottom, draw) for draw in draws]
            low_high = np.nanpercentile(drawn, (2.5, 97.5))
        return f"{values:.3f} ({low_high[0]:.3f}–{low_high[1]:.3f})" if len(low_high) else "–"

    squares = total["time_squares"].sum() / max(total["right"].sum(), 1)
    return [
        share("before_right", "n"),
        share("after_right", "n"),
        share("missed", "n"),
        f"{calibration_error(bins['before']):.3f}",
        f"{calibration_error(bins['after']):.3f}",
        "{:.3f}, {:.3f}".format(*calibration_error_by_chance(bins["after"])),
        stated_and_right(bins["after"]),
        f"{(total['extra'].sum() / total['frames'].sum()):.2f} a frame",
        f"{total['true'].sum():.0f}",
        f"{total['found'].sum():.0f}",
        share("right", "found"),
        share("right", "true"),
        share("both", "true_and_found"),
        share("changes_both", "changes_true_and_found"),
        f"{np.sqrt(squares):.3f}" if total["right"].sum() else "–",
        f"{10 * (total['found'] - total['right']).sum() / total['seconds'].sum():.2f}",
        f"{ratio(total, 'lasting_found', 'lasting', slice(None)):.2f} of "
        f"{total['lasting'].sum():.0f}",
        f"{1000 * ratio(total, 'changes_false', 'n', slice(None)):.3f}",
        vacancy_recall(vacancies),
    ]


def stated_and_right(bins):
    """Say the mean confidence, and the share of right counts, of columns that were found."""
    number, confidence, right = bins.sum(axis=(0, 2))
    return f"{confidence / number:.3f}, {right / number:.3f}" if number else "–"


def ratio(total, top, bottom, draw):
    below = total[bottom][draw].sum()
    return total[top][draw].sum() / below if below else np.nan


def film_scores(dataset, particle, folder):
    """Compare one film with its truth: sums, by species."""
    frames, sites = (pd.read_parquet(folder / f"{name}.parquet") for name in ("frames", "sites"))
    sites = sites.sort_values("site")
    truth = truth_of(dataset, particle, frames)
    sides = {
        name: cube(pd.read_parquet(folder / f"{file}.parquet"), len(sites), len(frames))
        for name, file in SIDES.items()
    }
    found = pd.read_parquet(folder / "events.parquet")
    places = sites[["x_A", "y_A"]].to_numpy()
    films = {}
    for species in SPECIES:
        vacancies = vacancy_readings(
            truth, sides["after"], sites, species, window_s=WINDOWS[species]
        )
        films[species] = (
            count_sums(truth, sides, sites, species)
            | event_sums(truth, found, places, species)
            | {"vacancies": vacancies}
        )
    return films


def count_sums(truth, sides, sites, species):
    """Count what is right before and after tracking."""
    scores = {name: score_columns(truth, p, sites, species) for name, p in sides.items()}
    after = scores["after"]
    sums = {"n": after.n, "missed": after.missed, "frames": after.frames,
            "extra": after.false_sites}  # fmt: skip
    for name, score in scores.items():
        sums[f"{name}_right"] = score.right
    return sums | {"bins": {name: score.bins for name, score in scores.items()}}


def event_sums(truth, found, site_places, species):
    mine = found[found["species"] == species]
    told = truth.events[truth.events["species"] == species]
    window = WINDOWS[species]
    events = score_events(mine, with_places(told, truth.places), truth.seconds, window=window)
    changes = score_events(
        as_changes(mine, site_places),
        as_changes(told, truth.places),
        truth.seconds,
        window=window,
    )
    stay = score_events(
        as_changes(mine, site_places),
        as_changes(lasting(told, truth.seconds, LASTING_S), truth.places),
        truth.seconds,
        window=window,
    )
    error = 0.0 if np.isnan(events.time_error_s) else events.time_error_s
    return {
        "true": events.n_true,
        "found": events.n_found,
        "right": events.n_right,
        "both": 2 * events.n_right,
        "true_and_found": events.n_true + events.n_found,
        "changes_both": 2 * changes.n_right,
        "changes_true_and_found": changes.n_true + changes.n_found,
        "changes_false": changes.n_found - changes.n_right,
        "lasting": stay.n_true,
        "lasting_found": stay.n_right,
        "time_squares": events.n_right * error**2,
        "seconds": truth.seconds,
    }


def vacancy_recall(films):
    """Say the share of lasting vacancies that are seen."""
    seen, number = lasting_vacancies_seen(films)
    return f"{seen / number:.2f} of {number}" if number else "–"
