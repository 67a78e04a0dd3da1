"""The unfinished build beside the place of the dataset: made, locked, continued, published."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ceria_data.digest import canonical_json, file_sha256
from ceria_data.errors import DiskSpaceError, OutputError
from ceria_data.store import MANIFEST, fsync, refuse_inside_dataset, write_text

_BUILD = "build.json"
_REPLACES = "replaces-what-is-there"
_PARTIAL = "*.partial"


@dataclass(frozen=True)
class Staging:
    """The folder of an unfinished build, and the place its dataset goes to."""

    out: Path

    @property
    def folder(self) -> Path:
        """Where everything is written until the dataset is complete."""
        return self.out.parent / f".{self.out.name}.staging"

    @property
    def dataset(self) -> Path:
        """The dataset as it grows."""
        return self.folder / "dataset"

    @property
    def replaced(self) -> Path:
        """Where an overwritten dataset waits until the new one is in place."""
        return self.out.parent / f".{self.out.name}.replaced"


def check_place(staging: Staging, *, resume: bool, overwrite: bool, record: str = MANIFEST) -> None:
    """Refuse a place that nothing may be made in, before anything is written.

    Parameters
    ----------
    staging : Staging
    resume, overwrite : bool
    record : str
        File by which a folder is known as one of ours.

    Raises
    ------
    OutputError
        If the flags contradict each other, or `out` is not a folder of our own.
    """
    out = staging.out
    if resume and overwrite:
        raise OutputError("--resume and --overwrite exclude each other; give one of them")
    if not out.parent.is_dir():
        raise OutputError(f"{out.parent} is not a folder; make it first")
    if out.is_symlink():
        raise OutputError(f"{out} is a link; name the folder that it leads to")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} exists and is not a folder; choose another --out")
    refuse_inside_dataset(out)
    if out.is_mount() or out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise OutputError(f"{out} cannot be replaced by a new folder; name a folder inside it")
    if occupied(out) and not (out / record).is_file():
        raise OutputError(f"{out} holds files, but no {record}; choose another --out")


def occupied(out: Path) -> bool:
    """Say whether something is at the place of the dataset."""
    return out.is_dir() and any(out.iterdir())


def nothing_left_to_do(staging: Staging, *, resume: bool, overwrite: bool) -> bool:
    """Decide what the flags mean for what is there; call it with the lock held.

    Returns
    -------
    bool
        True if a complete dataset is there and nothing waits to replace it.

    Raises
    ------
    OutputError
        If something is there and neither flag allows to go on.
    """
    out, unfinished = staging.out, (staging.folder / _BUILD).is_file()
    if overwrite:
        return False
    if not resume and occupied(out):
        raise OutputError(
            f"{out} holds a dataset already; --overwrite replaces it, another --out keeps it"
        )
    if not resume and staging.folder.exists():
        raise OutputError(
            f"an unfinished build of {out} exists in {staging.folder}; "
            "--resume continues it, --overwrite starts again"
        )
    if occupied(out) and unfinished and staging.dataset.is_dir():
        if not (staging.folder / _REPLACES).is_file():
            raise OutputError(
                f"{out} holds a dataset and {staging.folder} an unfinished build that was not "
                "meant to replace it; --overwrite starts again"
            )
        return False
    return occupied(out)


@contextmanager
def locked(staging: Staging, *, wait: bool = False) -> Iterator[None]:
    """Hold a place; the lock ends with the process, however it ends.

    Parameters
    ----------
    staging : Staging
    wait : bool
        Wait for another command that holds it.

    Raises
    ------
    OutputError
        If another command holds it.
    """
    lock = FileLock(staging.out.parent / f".{staging.out.name}.lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise OutputError(f"another command is writing {staging.out}; wait for it") from error
    except OSError as error:
        raise OutputError(f"{staging.out.parent} cannot be written: {error}") from error
    try:
        yield
    finally:
        # Unlinked while it is held: whoever waits on this file finds it gone and starts over.
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def open_staging(staging: Staging, fingerprint: dict[str, Any], *, overwrite: bool) -> bool:
    """Start a staging folder, or continue one made with the same fingerprint.

    Parameters
    ----------
    staging : Staging
    fingerprint : dict
        All that must be equal for blocks to fit together: recipe, layout, software.
    overwrite : bool
        Discard what is there.

    Returns
    -------
    bool
        True if the folder is new and its arrays have to be created.

    Raises
    ------
    OutputError
        If the folder belongs to another config, layout or software.
    """
    if overwrite:
        shutil.rmtree(staging.folder, ignore_errors=True)
    record = staging.folder / _BUILD
    if not record.is_file():
        shutil.rmtree(staging.folder, ignore_errors=True)
        for name in ("dataset", "parts", "receipts"):
            (staging.folder / name).mkdir(parents=True)
        if overwrite:
            write_text(staging.folder / _REPLACES, "")
        return True
    found = json.loads(record.read_text(encoding="utf-8"))
    differing = sorted(key for key in fingerprint if fingerprint[key] != found.get(key))
    if differing:
        raise OutputError(
            f"the unfinished build in {staging.folder} was started with another "
            f"{' and '.join(differing)}; repeat the command that started it, or --overwrite"
        )
    sweep(staging)
    return False


def seal_staging(folder: Path, fingerprint: dict[str, Any]) -> None:
    """Record that a staging folder is ready for blocks, and whose."""
    write_text(folder / _BUILD, canonical_json(fingerprint).decode())


def build_key(folder: Path) -> str:
    """Name the build that a staging folder belongs to; workers compare it before they write.

    Raises
    ------
    OSError
        If the folder is not, or no longer, that of a build.
    """
    return file_sha256(folder / _BUILD)


def staged_bytes(staging: Staging) -> int:
    """Measure what an unfinished build has written already."""
    paths = staging.folder.rglob("*")
    return sum(path.stat().st_size for path in paths if path.is_file())


def staged_block_size(staging: Staging) -> int | None:
    """Structures per block of an unfinished build, if there is one."""
    with suppress(OSError, ValueError, KeyError):
        content = json.loads((staging.folder / _BUILD).read_text(encoding="utf-8"))
        return int(content["layout"]["block"])
    return None


def sweep(staging: Staging) -> None:
    """Remove what interrupted writes left behind."""
    for path in staging.folder.rglob(_PARTIAL):
        path.unlink(missing_ok=True)


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to start what will not fit.

    Raises
    ------
    DiskSpaceError
        With the room needed and free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskSpaceError(disk_message(folder, needed, free))


def disk_message(folder: Path, needed: int, free: int) -> str:
    """Say how much room there is and how much is needed."""
    return (
        f"the disk of {folder} has {free / 1e6:.1f} MB free; the build needs about "
        f"{needed / 1e6:.1f} MB more; free some room and continue with --resume"
    )


def publish(staging: Staging) -> None:
    """Move the complete dataset to its place with one rename, then clear up.

    Raises
    ------
    OutputError
        If a dataset is there and the build was not started to replace it.
    """
    for path in staging.dataset.rglob("*"):
        fsync(path)
    fsync(staging.dataset)
    if occupied(staging.out):
        if not (staging.folder / _REPLACES).is_file():
            raise OutputError(f"{staging.out} is taken by now; it was not replaced")
        shutil.rmtree(staging.replaced, ignore_errors=True)
        staging.out.rename(staging.replaced)
    staging.dataset.rename(staging.out)
    fsync(staging.out.parent)
    clear(staging)


def clear(staging: Staging) -> None:
    """Remove what a finished build leaves beside its dataset."""
    shutil.rmtree(staging.folder, ignore_errors=True)
    shutil.rmtree(staging.replaced, ignore_errors=True)
