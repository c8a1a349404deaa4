"""What the API answers when it refuses: an exception that becomes a `Status` object."""

from __future__ import annotations

from typing import Any

from stand_in_kubernetes.kinds import Kind

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    500: "InternalError",
}


class ApiError(Exception):
    """A refusal, with the code and the sentence that the API server would give."""

    def __init__(self, code: int, message: str, reason: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.reason = reason or _REASONS[code]
        self.details = details

    def status(self) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def not_found(kind: Kind, name: str) -> ApiError:
    message = f'{kind.resource} "{name}" not found'
    return ApiError(404, message, name=name, group=kind.group, kind=kind.plural)


def forbidden(kind: Kind, name: str, why: str) -> ApiError:
    message = f'{kind.resource} "{name}" is forbidden: {why}'
    return ApiError(403, message, name=name, group=kind.group, kind=kind.plural)


def invalid(kind: Kind, name: str, faults: list[tuple[str, str]]) -> ApiError:
    """A body that the schema allows and the API server does not; `faults` are fields and why."""
    sentences = [f"{field}: {why}" for field, why in faults]
    told = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    title = f"{kind.name}.{kind.group}" if kind.group else kind.name
    causes = [
        {"field": field, "message": why, "reason": "FieldValueInvalid"} for field, why in faults
    ]
    message = f'{title} "{name}" is invalid: {told}'
    return ApiError(422, message, name=name, group=kind.group, kind=kind.name, causes=causes)
