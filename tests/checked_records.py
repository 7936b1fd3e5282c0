"""Shapes of the records between stages, checked whenever a test makes one.

Every dataclass of the package whose fields are annotated with jaxtyping is checked by beartype when it is
built: axes of one name have one length within a record.
"""

import dataclasses
import importlib
import pkgutil
import sys

from beartype import beartype
from jaxtyping import jaxtyped

import partnerface

_ROOMS = (
    *("cameras", "meshes", "head_models", "data", "skinning", "deformation"),
    *("sampling", "rendering", "avatar"),
)


def check_records() -> list[type]:
    """Check the fields of all records that are built from now on; returns their classes."""
    for room in _ROOMS:
        package = importlib.import_module(f"partnerface.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "anny_baking" not in module.name:
                importlib.import_module(module.name)
    found = {
        value
        for name, module in list(sys.modules.items())
        if name.startswith(f"{partnerface.__name__}.")
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == name
    }
    records = [cls for cls in found if _has_shapes(cls)]
    for record in records:
        jaxtyped(record, typechecker=beartype)
    return records


def _has_shapes(record: type) -> bool:
    """Whether a record has annotated shapes and no default that a factory makes, which jaxtyping misreads."""
    fields = dataclasses.fields(record)
    made = any(field.default_factory is not dataclasses.MISSING for field in fields)
    return not made and any("[Tensor" in str(field.type) for field in fields)
