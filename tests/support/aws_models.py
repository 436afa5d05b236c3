"""Requests and answers by botocore's own service models: what is checked on the way in, and how it is put out."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.support.aws_identity import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TARGETS = {"ecr-public": "SpencerFrontendService", "ecr": "AmazonEC2ContainerRegistry_V20150921"}


@functools.cache
def share_models() -> None:
    """Let all sessions of boto3 in this process read botocore's models once: that takes longer than all else in a test."""
    import botocore.session

    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


@functools.cache
def service_model(service: str) -> Any:
    """Return botocore's model of a service."""
    from botocore.session import get_session

    return get_session().get_service_model(service)


def operation_model(service: str, operation: str) -> Any:
    """Return the model of an operation. Raises `AwsError` UnknownOperationException."""
    model = service_model(service)
    if operation not in model.operation_names:
        raise AwsError("UnknownOperationException", "")
    return model.operation_model(operation)


def checked_parameters(service: str, operation: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request, with blobs as bytes. Raises `AwsError` InvalidParameterException."""
    from botocore.validate import ParamValidator

    shape = operation_model(service, operation).input_shape
    parameters: dict[str, Any] = {} if shape is None else _decoded(document, shape)
    report = ParamValidator().validate(parameters, shape)
    problems = [report.generate_report()] if report.has_errors() else list(_problems(parameters, shape, ""))
    if problems:
        raise AwsError("InvalidParameterException", problems[0])
    return parameters


def put_out(service: str, operation: str, result: Mapping[str, Any]) -> Any:
    """Return a result as the document that botocore parses. A member that the model lacks is an `AssertionError`."""
    return _encoded(result, operation_model(service, operation).output_shape)


def _decoded(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, dict):
        members = shape.members
        return {key: _decoded(held, members[key]) if key in members else held for key, held in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_decoded(held, shape.member) for held in value]
    if shape.type_name == "blob":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise AwsError("SerializationException", "a blob is not base64") from None
    return value


def _problems(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Yield what is wrong by the model's greatest sizes, patterns and enumerations, in ECR's words."""
    if shape.type_name == "structure":
        for key, held in value.items():
            yield from _problems(held, shape.members[key], f"{path}.{key}" if path else key)
        return
    most = shape.metadata.get("max")
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
    if most is not None and size is not None and size > most:
        what = "value" if size is value else "length"
        yield _constraint(path, f"Member must have {what} less than or equal to {most}")
    if shape.type_name == "list":
        for number, held in enumerate(value, 1):
            yield from _problems(held, shape.member, f"{path}.{number}.member")
        return
    pattern = shape.metadata.get("pattern")
    if pattern is not None and isinstance(value, str) and not re.fullmatch(pattern, value):
        yield _constraint(path, f"must satisfy regular expression '{pattern}'")
    allowed = getattr(shape, "enum", None)
    if allowed and value not in allowed:
        yield _constraint(path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")


def _constraint(path: str, text: str) -> str:
    return f"Invalid parameter at '{path}' failed to satisfy constraint: '{text}'"


def _encoded(value: Any, shape: Any) -> Any:
    if shape is None:
        return {}
    if shape.type_name == "structure":
        unknown = set(value) - set(shape.members)
        assert not unknown, f"{shape.name} has no {unknown}"
        return {key: _encoded(held, shape.members[key]) for key, held in value.items() if held is not None}
    if shape.type_name == "list":
        return [_encoded(held, shape.member) for held in value]
    if shape.type_name == "timestamp":
        assert isinstance(value, datetime), f"{shape.name} is a time"
        return value.timestamp()
    return base64.b64encode(value).decode() if shape.type_name == "blob" else value
