"""Fill models, one a file: found by the file's name or by entry point."""

from typing import cast

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import FILL_MODELS
from scalpdesk.simulation.fills.base import FillModel


def fill_model(name: str) -> FillModel:
    """Return a new fill model by its name.

    Raises ConfigError when there is no such model (names the nearest), or an installed one does not keep the
    contract.
    """
    plug = FILL_MODELS.find(name)
    try:
        return cast("FillModel", plug())
    except TypeError as problem:
        raise ConfigError(
            f"the fill model {name} cannot be made: {problem}",
            where=FILL_MODELS.where,
            value=name,
            fix="a fill model is made without arguments",
        ) from problem
