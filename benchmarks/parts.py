"""Configs of parts of ceria-columns-v1: two to train on, one to measure on.

    python benchmarks/parts.py FOLDER
    ceria-data build FOLDER/v1-train.yaml --out FOLDER/v1-train     # 1,080 structures
    ceria-data build FOLDER/v1-optics.yaml --out FOLDER/v1-optics   # 3,080, 16 images of each
    ceria-data build FOLDER/v1-test.yaml --out FOLDER/v1-test       # 320, limits of 400 columns

A structure depends on its number only, so these are the first structures of every split of
ceria-columns-v1; v1-train and v1-test are so pixel by pixel, while the training split of v1-optics
has half the phonon configurations. The part to measure on has a training split of its own, on which
prior and baseline are fitted.
"""

import argparse
from importlib import resources
from pathlib import Path

import yaml

WHOLE = "ceria-columns-v1"
PARTS = {
    "v1-train": {"structures": {"train": 1000, "validation": 80}},
    "v1-optics": {
        "structures": {"train": 3000, "validation": 80},
        "images_per_structure": 16,
        "phonons": {"train": 4},
    },
    "v1-test": {
        "structures": {
            "train": 100,
            "validation": 10,
            "test": 150,
            "test_thickness": 12,
            "test_defocus": 12,
            "test_tilt": 12,
            "test_dose": 12,
            "test_kind": 12,
        },
        "limits": {"split": "test", "columns": 400},
    },
}


def whole_config():
    """Read the config of the whole benchmark."""
    text = (resources.files("ceria_data") / "presets" / f"{WHOLE}.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def part_of(whole, name, facts):
    """Keep the first structures of some splits of a config."""
    part = {key: value for key, value in whole.items() if key != "limits"} | {"name": name}
    part["splits"] = [
        split
        | {
            "structures": facts["structures"][split["name"]],
            "phonons": facts.get("phonons", {}).get(split["name"], split["phonons"]),
        }
        for split in whole["splits"]
        if split["name"] in facts["structures"]
    ]
    given = ("limits", "images_per_structure")
    return part | {key: facts[key] for key in given if key in facts}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    whole = whole_config()
    folder.mkdir(parents=True, exist_ok=True)
    for name, facts in PARTS.items():
        file = folder / f"{name}.yaml"
        part = yaml.safe_dump(part_of(whole, name, facts), sort_keys=False, allow_unicode=True)
        file.write_text(part, encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
