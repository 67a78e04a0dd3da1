"""Datasets that come with the package, and where any dataset lies."""

from pathlib import Path

from ceria_data.errors import NotADatasetError, OutputError

DATASETS = Path(__file__).parent / "datasets"
"""A folder for each bundled dataset, under its name."""


def bundled_datasets() -> list[str]:
    """Name the datasets that come with the package.

    Examples
    --------
    >>> bundled_datasets()
    ['ceria-columns-mini']
    """
    return sorted(manifest.parent.name for manifest in DATASETS.glob("*/manifest.json"))


def dataset_folder(path: str | Path) -> Path:
    """Find the folder of a dataset.

    Parameters
    ----------
    path : str or Path
        A folder, or the name of a bundled dataset. A folder of that name wins.

    Returns
    -------
    Path

    Raises
    ------
    NotADatasetError
        If it is neither.

    Examples
    --------
    >>> dataset_folder("ceria-columns-mini").name
    'ceria-columns-mini'
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    if str(path) in bundled_datasets():
        return DATASETS / str(path)
    raise NotADatasetError(
        f"{path} is not a folder; expected a dataset made by ceria-data, or one that comes with "
        f"the package: {', '.join(bundled_datasets())}"
    )


def refuse_among_bundled(path: Path, instead: str) -> None:
    """Refuse to write where the bundled datasets lie: they belong to the installed package.

    Parameters
    ----------
    path : Path
        What would be written or changed.
    instead : str
        What the user can do, the end of the message.

    Raises
    ------
    OutputError
        If `path` is there, however it was named.

    Examples
    --------
    >>> refuse_among_bundled(Path("my-data"), "choose another --out")
    >>> refuse_among_bundled(dataset_folder("ceria-columns-mini"), "repair a copy")
    Traceback (most recent call last):
    ceria_data.errors.OutputError: ...
    """
    if path.resolve().is_relative_to(DATASETS.resolve()):
        raise OutputError(
            f"{path} lies among the datasets that come with the package, which stay as they are; "
            f"{instead}"
        )
