"""The config of a training: science only; devices, workers and places are flags."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from ceria_data.errors import ConfigError
from ceria_models.crops import Views
from ceria_models.errors import NotAModelError
from ceria_models.labels import Mask
from ceria_models.losses import SpatialWeights
from ceria_models.nets import ARCHITECTURES, NetSettings, check_settings, written_settings
from ceria_models.nets.unet import UNet

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Range = tuple[Positive, Positive]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetSection(_Section):
    """The net and its size; see `NetSettings`."""

    architecture: Literal[tuple(ARCHITECTURES)]  # type: ignore[valid-type]
    width: Annotated[int, Field(ge=1)]
    levels: Annotated[int, Field(ge=1)]
    blocks: Annotated[int, Field(ge=1)] = 1
    patch: Annotated[int, Field(ge=1)] = 2
    decoder: str = ""
    encoder: str = ""
    bottom: Annotated[int, Field(ge=0)] = 0

    @model_serializer(mode="wrap")
    def _without_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So checkpoints of a config of before go on.
        return written_settings(write(self))

    @model_validator(mode="after")
    def _exists(self) -> Self:
        try:
            check_settings(self.settings(max_count=1))
        except NotAModelError as error:
            raise ValueError(str(error)) from error
        return self

    def settings(self, max_count: int) -> NetSettings:
        """Describe the net for a dataset's highest class."""
        return NetSettings(
            self.architecture,
            self.width,
            self.levels,
            self.blocks,
            self.patch,
            max_count,
            self.decoder,
            self.encoder,
            self.bottom,
        )


class MaskSection(_Section):
    """How far a column reaches in its label; see `Mask`."""

    radius_A: Positive
    softness_A: NotNegative

    def mask(self) -> Mask:
        """Describe the mask."""
        return Mask(self.radius_A, self.softness_A)


class ViewsSection(_Section):
    """What is drawn anew for every crop; see `Views`."""

    crop: Annotated[int, Field(ge=16)]
    dose_e_per_A2: Range
    other_pixels: Annotated[float, Field(ge=0, le=1)] = 0.0
    sampling_A: Range = (0.05, 0.25)
    calibration_error: Annotated[float, Field(ge=0, lt=0.5)] = 0.03

    def views(self) -> Views:
        """Describe the views."""
        return Views(
            self.crop,
            self.dose_e_per_A2,
            self.other_pixels,
            self.sampling_A,
            self.calibration_error,
        )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("dose_e_per_A2", "sampling_A"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low} is above {high}; give the lower end first")
        return self


class SpatialSection(_Section):
    """Weights of the pixels in the cross-entropy; see `SpatialWeights`."""

    column: Positive = 1.0
    boundary: NotNegative = 0.0
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0

    def weights(self) -> SpatialWeights:
        """Describe the weights."""
        return SpatialWeights(self.column, self.boundary, self.balance)


class LossSection(_Section):
    """Factor of every term of the loss; a term of factor 0 is not evaluated."""

    cross_entropy: NotNegative = 1.0
    ranked_probability: NotNegative = 0.0
    dice: NotNegative = 0.0
    depth: NotNegative = 0.1
    offset: NotNegative = 0.5
    optics: NotNegative = 0.0
    spatial: SpatialSection = SpatialSection()


class ScheduleSection(_Section):
    """Muon and AdamW with linear warm-up and cosine decay, and the average of the weights."""

    crops: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Positive = 2e-3
    kernel_learning_rate: Positive = 0.02
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.02
    weight_decay: NotNegative = 0.01
    clip: Positive = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    bfloat16: bool = True

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        return -(-self.crops // self.batch)


class TrainingConfig(_Section):
    """Everything that decides what a training ends with."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    description: str = ""
    seed: Annotated[int, Field(ge=0)]
    net: NetSection
    mask: MaskSection
    views: ViewsSection
    loss: LossSection
    schedule: ScheduleSection

    @model_validator(mode="after")
    def _optics_have_a_coarsest_grid(self) -> Self:
        if self.loss.optics and not issubclass(ARCHITECTURES[self.net.architecture], UNet):
            raise ValueError(
                f"loss.optics is {self.loss.optics:g}, but architecture {self.net.architecture} "
                "has no coarsest grid to read optics from; expected 0, or a U-Net of this package"
            )
        return self


def load_training_config(name: str) -> TrainingConfig:
    """Read a config file, or one of the configs that come with the package.

    Parameters
    ----------
    name : str
        YAML file, or name of a bundled config.

    Returns
    -------
    TrainingConfig

    Raises
    ------
    ConfigError
        If it cannot be read, has an unknown key or an impossible value.

    Examples
    --------
    >>> load_training_config("residual-unet-base").net.architecture
    'residual_unet'
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
    else:
        file = resources.files("ceria_models") / "configs" / f"{name}.yaml"
        if not file.is_file():
            raise ConfigError(
                f"{name} is neither a YAML file nor a config of the package: "
                f"{', '.join(bundled_configs())}"
            )
        text = file.read_text(encoding="utf-8")
    return training_config_from_yaml(text, name)


def training_config_from_yaml(text: str, source: str) -> TrainingConfig:
    """Parse a config.

    Raises
    ------
    ConfigError
        As `load_training_config`.
    """
    try:
        content: Any = yaml.safe_load(text)
        return TrainingConfig.model_validate(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML: {error}") from error
    except ValidationError as error:
        lines = (
            f"{'.'.join(str(part) for part in fault['loc']) or 'config'}: {fault['msg']}, "
            f"found {fault['input']!r}"
            for fault in error.errors(include_url=False, include_context=False)
        )
        raise ConfigError(f"{source}: " + "; ".join(lines)) from error


def training_config_yaml(config: TrainingConfig) -> str:
    """Write a config with all defaults filled in."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def bundled_configs() -> list[str]:
    """Name the configs that come with the package.

    Examples
    --------
    >>> "residual-unet-base" in bundled_configs()
    True
    """
    folder = resources.files("ceria_models") / "configs"
    return sorted(
        file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")
    )
