"""Fill models, one a file: found by the file's name or by entry point."""

from pkgutil import iter_modules
from typing import cast

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.plugins import Plugs, require
from scalpdesk.simulation.fills.base import FillModel

FILL_MODELS = Plugs(
    "fill model",
    "simulation.fill_model",
    "scalpdesk.fill_models",
    {
        module.name: f"{__name__}.{module.name}:{module.name.capitalize()}Fill"
        for module in iter_modules(__path__)
        if module.name != "base"
    },
)


def fill_model(name: str) -> FillModel:
    """Return a new fill model by its name.

    Raises
    ------
    ConfigError
        When there is no such model (names the nearest), or an installed one does not keep the contract.
    """
    plug = FILL_MODELS.find(name)
    require(plug, ("match",), kind="fill model", name=name, where=FILL_MODELS.where)
    try:
        return cast("FillModel", plug())
    except TypeError as problem:
        raise ConfigError(
            f"the fill model {name} cannot be made: {problem}",
            where=FILL_MODELS.where,
            value=name,
            fix="a fill model is made without arguments",
        ) from problem
