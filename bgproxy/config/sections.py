"""What the schema is made of: sections with keys, lists and mappings of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from bgproxy.config.readers import Reader, Scalar, refuse


class Section(BaseModel):
    """A mapping with known keys; one that is not known is refused.

    Fields are named as in the value that the section builds, keys as in the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        shape = handler.resolve_ref_schema(handler(schema))
        shape.pop("title", None)  # the class's name, which says nothing to an editor's user
        for name, field in cls.model_fields.items():
            for reader in field.metadata:
                if hasattr(reader, "show") and not field.is_required():
                    described = shape["properties"][field.alias or name]
                    described["default"] = reader.show(field.default)
        return shape

    def values(self) -> dict[str, Any]:
        """Every field with its value, sections as they are."""
        return dict(self)


def key(default: Any, description: str, *, name: str | None = None) -> Any:
    """Declare a key of a section.

    Args:
        default: ``...`` for a key that must be given.
        description: one or two sentences; they stand in the documentation and in editors.
        name: as in the file, where the field's name is another.
    """
    return Field(default, description=description, alias=name)


@dataclass(frozen=True, slots=True)
class Many:
    """A list of values; becomes a tuple.

    Args:
        of: reads one of them.
        takes_one: whether a single value may stand for a list of one.
        least: how many there must be.
    """

    of: Reader
    takes_one: bool = False
    least: int = 0

    def __get_pydantic_core_schema__(
        self, _source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        item = self.of.__get_pydantic_core_schema__(None, handler)
        return core_schema.no_info_before_validator_function(
            self._listed, core_schema.tuple_variable_schema(item)
        )

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        items = self.of.json_schema()
        listed = {"type": "array", "items": items} | (
            {"minItems": self.least} if self.least else {}
        )
        return {"anyOf": [items, listed]} if self.takes_one else listed

    def show(self, value: tuple[Any, ...]) -> Any:
        """Write the values as they would stand in JSON."""
        shown = [self.of.show(item) for item in value]
        return shown[0] if self.takes_one and len(shown) == 1 else shown

    def _listed(self, given: object) -> object:
        if isinstance(given, Scalar) and given.is_null:
            refuse("the value is missing", "write a list, or remove the key")
        if self.takes_one and not isinstance(given, list):
            return [given]
        if isinstance(given, list) and len(given) < self.least:
            refuse("the list is empty", f"write at least {self.least} in it")
        return given


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping with keys of any name; becomes a tuple of pairs.

    Args:
        names, of: read the keys and the values.
    """

    names: Reader
    of: Reader

    def __get_pydantic_core_schema__(
        self, _source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda given: tuple(given.items()),
            core_schema.dict_schema(
                self.names.__get_pydantic_core_schema__(None, handler),
                self.of.__get_pydantic_core_schema__(None, handler),
            ),
        )

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": self.names.json_schema(),
            "additionalProperties": self.of.json_schema(),
        }

    def show(self, value: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
        """Write the pairs as they would stand in JSON."""
        return {name: self.of.show(item) for name, item in value}


class AnyValue(Reader):
    """Whatever JSON can say; what stands without quotes is typed as in YAML 1.2."""

    __slots__ = ()

    what: ClassVar[str] = "a value"

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(_plain_value)

    def read(self, text: str) -> object:
        """What the text says."""
        return Scalar(text).value

    def json_schema(self) -> dict[str, Any]:
        """Anything."""
        return {}


def _plain_value(given: object) -> object:
    if isinstance(given, Scalar):
        return given.value
    if isinstance(given, list):
        return [_plain_value(item) for item in given]
    assert isinstance(given, dict)  # nodes are made of these three
    return {name: _plain_value(item) for name, item in given.items()}
