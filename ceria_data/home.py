"""Where large files lie that can be made or fetched again."""

import os
from pathlib import Path


def home() -> Path:
    """Name the folder for pulled and decoded datasets, downloads and checkpoints.

    Returns
    -------
    Path
        ``$CERIA_HOME``, or ``ceria`` in the user's cache folder. It may not exist yet.

    Examples
    --------
    >>> home().is_absolute()
    True
    """
    named = os.environ.get("CERIA_HOME")
    if named:
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache").absolute() / "ceria"
