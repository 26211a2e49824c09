"""The keys of one token, wherever tokens are listed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from bgproxy.config.readers import Choice, Scalar
from bgproxy.config.sections import Section, key
from bgproxy.config.settings import Role, Token
from bgproxy.config.web_readers import Name, Secret


class TokenSection(Section):
    """A key to the admin API."""

    name: Annotated[str, Name(is_optional=True)] = key(
        "", "Who uses it, for the history; `token-1` and so on where it is not given."
    )
    role: Annotated[Role, Choice(Role)] = key(
        Role.READ,
        "`read`, `rollback` (may only take back), `switch`, or `admin`; each includes those before "
        "it.",
    )
    token: Annotated[str, Secret()] = key(
        ...,
        "Its text, best as `${NAME}`; or `sha256:` and the hexadecimal digest of its text, as "
        "`bgproxy token new` prints it.",
    )

    def build(self, number: int) -> Token:
        """The settings; `number` counts from 1."""
        return Token(self.name or f"token-{number}", self.role, self.token)


class TextOrToken:
    """A plain text among the tokens is an admin's."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._token, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}

    def _token(self, given: object) -> object:
        return {"token": given, "role": Scalar(Role.ADMIN)} if isinstance(given, Scalar) else given
