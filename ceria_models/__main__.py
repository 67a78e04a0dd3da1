"""``python -m ceria_models`` is the command `ceria-models`."""

from ceria_models.cli import main

if __name__ == "__main__":
    main()
