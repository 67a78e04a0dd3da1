"""The page of a package of the BioImage Model Zoo, for people."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from ceria_data.card import cell
from ceria_models.bioimageio_description import SMALLEST
from ceria_models.card import limits_of
from ceria_models.model import Model
from ceria_models.weights import weights_sha256


def page(model: Model, shown: str) -> str:
    """Write the page of a package: what goes in, what comes out, what it cannot do.

    Parameters
    ----------
    model : Model
    shown : str
        What the cover shows.

    Returns
    -------
    str
        Markdown.
    """
    config = model.config
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = cell
    template = files("ceria_models.templates").joinpath("bioimageio.md.j2").read_text("utf-8")
    return environment.from_string(template).render(
        config=config,
        training=config.training,
        zone="".join(str(index) for index in config.domain.zone_axis),
        limits=limits_of(config),
        smallest=SMALLEST,
        reach=model.net.reach,
        shown=shown,
        weights_sha256=weights_sha256(model.net),
    )
