"""Errors as OpenAI's clients expect them: an HTTP status, and {"error": {message, type, param, code}}."""

from typing import Any

from llmdemo.core.errors import UserError

INVALID = "invalid_request_error"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    507: "server_error",
}


class ApiError(Exception):
    """A refusal. `message` is a sentence: what was got, what is valid, what to do."""

    def __init__(self, status: int, message: str, code: str = "", param: str | None = None, wait: float = 0.0):
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.wait = wait
        """Seconds after which to ask again (Retry-After); 0: unknown."""

    def to_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        told = {"message": self.message, "type": _TYPES.get(self.status, INVALID), "param": self.param}
        return {"error": {**told, "code": self.code or None}}


def of_user_error(error: UserError, param: str | None = None) -> ApiError:
    """`error`'s sentences as an ApiError."""
    return ApiError(400, str(error), "invalid_value", param)
