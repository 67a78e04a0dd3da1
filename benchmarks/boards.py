"""How many columns are scored in a split, for cards/leaderboard/boards.yaml; no scattering.

    python benchmarks/boards.py ceria-columns-v1 [--split test] [--structures 150]

Labels do not depend on the machine, so this needs no built dataset. A structure depends on its
number only: the first 150 of the whole benchmark are those of its part `v1-test`.
"""

import argparse
from itertools import islice

import pandas as pd

from ceria_data.config import load_config
from ceria_data.draw import structure_entries
from ceria_data.schema import SPECIES
from ceria_data.simulate import field_of, label_structure
from ceria_models.column_table import NEEDED
from ceria_models.matching import match_columns


def scored_columns(config, split, n):
    """Count the structures and the columns of each species that are scored once each is shown."""
    field, nothing = field_of(config), pd.DataFrame({name: [] for name in NEEDED})
    entries = [entry for entry in structure_entries(config) if entry.split == split]
    totals, done = dict.fromkeys(SPECIES, 0), 0
    for entry in islice(entries, n):
        columns = label_structure(config, entry, planes=64).columns
        matches = match_columns(columns, nothing, field, config.max_count)
        scored = matches[~(matches["border"] | matches["ambiguous"])]
        for species in SPECIES:
            totals[species] += int((scored["species"] == species).sum())
        done += 1
    return done, totals


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--split", default="test")
    parser.add_argument("--structures", type=int)
    given = parser.parse_args()
    config = load_config(given.config)
    done, totals = scored_columns(config, given.split, given.structures)
    print(f"images: {done * config.images_per_structure}\nparticles: {done}\ncolumns: {totals}")


if __name__ == "__main__":
    main()
