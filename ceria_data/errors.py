"""Errors that a user can act on, and the exit code each one ends a command with.

::

    CeriaError                  2   wrong usage or input
    ├── ConfigError             2   a config that cannot be built
    ├── DatasetError            1   a dataset that is not as it should be
    │   └── StructureError      1   one structure that cannot be simulated
    ├── NotADatasetError        2   a folder that holds no dataset, or one of a newer format
    ├── OutputError             2   an output place that cannot be used
    ├── DiskSpaceError          2   too little room
    ├── ClusterError            2   workers that cannot be reached
    ├── DeviceError             2   a device that is not there
    ├── HubError                2   the Hub cannot be reached, or does not let us
    │   ├── NotOnHubError       2   a repository or version that is not there
    │   └── PublishedError      2   a version that is there already, with other content
    ├── TransferError           1   files on the Hub, or from it, that are not as they should be
    ├── ImageError              2   an image that cannot be used
    │   └── FilmError           2   a film that cannot be read or prepared
    └── MissingExtraError       2   an optional part that is not installed
"""


class CeriaError(Exception):
    """An error with a message for the user: what was found, what was expected, what to do."""

    exit_code = 2


class ConfigError(CeriaError):
    """A config holds an unknown key, an impossible value or an empty range."""


class DatasetError(CeriaError):
    """A dataset's content differs from what its manifest promises."""

    exit_code = 1


class StructureError(DatasetError):
    """One structure could not be simulated."""


class NotADatasetError(CeriaError):
    """A folder is no dataset, or has a format this version cannot read."""


class OutputError(CeriaError):
    """The output exists already, belongs to another config or is in use."""


class DiskSpaceError(CeriaError):
    """The disk has too little room for what is to be written."""


class ClusterError(CeriaError):
    """The Dask scheduler or its workers cannot be used."""


class DeviceError(CeriaError):
    """The device asked for is not available."""


class HubError(CeriaError):
    """The Hub cannot be reached, or the token does not allow what was asked."""


class NotOnHubError(HubError):
    """There is no such repository, or it has no such version."""


class PublishedError(HubError):
    """A version is published with other content; published versions never change."""


class TransferError(CeriaError):
    """Files on the Hub, or from it, differ from what their checksums promise."""

    exit_code = 1


class ImageError(CeriaError):
    """An image, its sampling or its shape cannot be used."""


class FilmError(ImageError):
    """A film cannot be opened, read or prepared."""


class MissingExtraError(CeriaError):
    """An optional dependency is missing; the message names the install line."""

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(
            f"{what} needs the module {module!r}, which is not installed; "
            f"install it with: pip install 'ceria[{extra}]'"
        )
