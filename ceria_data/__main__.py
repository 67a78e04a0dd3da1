"""``python -m ceria_data`` is `ceria-data`."""

from ceria_data.cli import main

main()
