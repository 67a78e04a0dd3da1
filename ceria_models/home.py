"""Where large files lie that can be made again: the folder of `ceria_data`."""

from ceria_data.home import home

__all__ = ["home"]
