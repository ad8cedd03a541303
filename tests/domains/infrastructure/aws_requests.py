"""Make the request that botocore's own serialisers would send for an operation."""

from typing import Any
from urllib.parse import quote, urlencode

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.serialize import create_serializer

CREDENTIAL = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/{}/aws4_request"
DEPTH_MAX = 6
TEXT = "abc123"
SCALARS = {
    "boolean": True,
    "integer": 1,
    "long": 1,
    "float": 1.0,
    "double": 1.0,
    "timestamp": "2026-01-01T00:00:00Z",
    "blob": b"x",
}


def service_model(name: str) -> ServiceModel:
    loader = Loader(
        extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False
    )
    return ServiceModel(loader.load_service_model(name, "service-2"), name)


def minimal(shape: Shape, depth: int = 0) -> Any:
    """Return the least that a shape takes: required members, and one element of each list."""
    if depth > DEPTH_MAX:
        return {}
    match shape.type_name:
        case "structure":
            return {
                name: minimal(shape.members[name], depth + 1) for name in shape.required_members
            }
        case "list":
            return [minimal(shape.member, depth + 1)]
        case "map":
            return {TEXT: minimal(shape.value, depth + 1)}
        case _:
            return _scalar(shape)


def _scalar(shape: Shape) -> Any:
    if shape.metadata.get("enum"):
        return str(shape.metadata["enum"][0])
    return SCALARS.get(shape.type_name, TEXT)


def protocol_of(model: ServiceModel) -> str:
    """Return the newest protocol of a service that is not CBOR."""
    offered = model.metadata.get("protocols") or [model.metadata["protocol"]]
    return str(next(name for name in offered if name != "smithy-rpc-v2-cbor"))


def request_of(
    model: ServiceModel, operation: str, base: str, meant: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the `call` object of a request with minimal parameters, `meant` in their place."""
    shape = model.operation_model(operation).input_shape
    params = {**minimal(shape), **(meant or {})} if shape is not None else {}
    serializer = create_serializer(protocol_of(model), include_validation=False)
    made = serializer.serialize_to_request(params, model.operation_model(operation))
    headers = {"Authorization": CREDENTIAL.format(model.signing_name)}
    headers.update({str(name): str(value) for name, value in made["headers"].items()})
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body)
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    url = base + made["url_path"]
    query = _query(made["query_string"])
    if query:
        url += ("&" if "?" in url else "?") + query
    return {"method": made["method"], "url": url, "headers": headers, "body": body}


def _query(pairs: Any) -> str:
    items = pairs.items() if isinstance(pairs, dict) else pairs
    return "&".join(
        f"{quote(str(key), safe='')}={quote(str(single), safe='')}"
        for key, value in items
        for single in (value if isinstance(value, list) else [value])
    )
