"""The wire log of AWS's APIs: one event a call, with nothing secret in it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from manifestctl.events import Exchanged
from manifestctl.text import outside

if TYPE_CHECKING:
    from manifestctl.runtime import Runtime


class CallLog:
    """Tells the observer of a run of every call that boto3 makes, those too with which it gets credentials.

    Metadata services of containers and instances are asked by other means and do not show.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Tell this run's observer."""
        self._runtime = runtime
        self._under_way = threading.local()

    def watch(self, session: Any) -> None:
        """Hear of the calls of all clients that a session of botocore will make."""
        session.register("before-send", self._sent)
        session.register("response-received", self._ended)

    def _sent(self, request: Any, **_: object) -> None:
        # Neither paths nor queries: those of IAM Identity Center name accounts and roles.
        parts = urlsplit(request.url)
        self._under_way.call = (
            request.method,
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            self._runtime.monotonic(),
        )

    def _ended(self, event_name: str, response_dict: Any, parsed_response: Any, exception: Any, **_: object) -> None:
        method, url, began = self._under_way.call
        operation = event_name.rpartition(".")[2]
        status = 0 if response_dict is None else response_dict["status_code"]
        what = type(exception).__name__ if exception else (parsed_response or {}).get("Error", {}).get("Code")
        detail = f"{operation}: {what}" if what else operation
        seconds = self._runtime.monotonic() - began
        self._runtime.observe(Exchanged(method, outside(url, 500), status, seconds, 0, outside(detail, 200)))
