"""Read the settings from the environment; what is wrong with them is one clear line, without the secrets among them."""

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError

from foundation.config import explain
from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb.server.settings import Settings, variables

_VARIABLE_PREFIX = "ZTHUMB_"
_URL_CREDENTIALS = re.compile(r"(https?://)[^\s/'\"]*@")


def read_settings(**given: Any) -> Settings:
    """Return the settings: those that are ``given`` and not None, the others from the environment.

    Raises ``BadInput`` for a wrong value, and for a variable that has the prefix of settings and is none.
    """
    _check_variable_names(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        message = "\n".join(f"settings: {line}" for line in explain(Settings, error))
        raise BadInput(_without_secrets(message, {**os.environ, **given})) from None


def _without_secrets(message: str, environment: Mapping[str, Any]) -> str:
    secret_settings = [name for name, field in Settings.model_fields.items() if SecretStr.__name__ in str(field.annotation)]
    secret_variables = {variable.upper() for name in secret_settings for variable in variables(name)}
    # Settings are read from variables in upper or lower case, or given by their own names.
    secret_variables |= {name.upper() for name in secret_settings}
    for value in (value for name, value in environment.items() if name.upper() in secret_variables):
        message = message.replace(repr(value), "(hidden)")
    return _URL_CREDENTIALS.sub(r"\1…@", message)


def _check_variable_names(environment: Mapping[str, str]) -> None:
    """Refuse an environment variable with the server's prefix that is not a setting."""
    known = {variable for name in Settings.model_fields for variable in variables(name)}
    for name in sorted(environment):
        if name.startswith(_VARIABLE_PREFIX) and name not in known:
            raise BadInput(f"settings: environment variable {name} is not a setting. {suggestion(name, sorted(known))}")
