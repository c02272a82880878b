"""Posts a notification to a webhook: as JSON of ours, or in the shape that Slack or Teams takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from kedro_otel.shipping.transport.http import Session
from kedro_otel.shipping.transport.responses import Answer, of_http

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

TIMEOUT: Final = 10.0
"""Seconds that one request may take."""

_SLACK: Final = (".slack.com", ".slack-gov.com")
_TEAMS: Final = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com")
_CARD: Final = "application/vnd.microsoft.card.adaptive"


def post(address: str, notification: Mapping[str, Any]) -> Answer:
    """Send one notification and return what became of it.

    Args:
        address: The webhook. It is a secret: no answer repeats it.
        notification: What :mod:`kedro_otel.runtime.notifier` makes; ``text`` is a sentence for a person.
    """
    with _Webhook(address, TIMEOUT, "notification") as session:
        session.post(address, json=body(address, notification))
        return session.answer


def body(address: str, notification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON that the service at ``address`` takes."""
    host = f".{urlsplit(address).hostname or ''}"
    if host.endswith(_SLACK):
        return {"text": notification["text"]}
    if host.endswith(_TEAMS):
        block = {"type": "TextBlock", "text": notification["text"], "wrap": True}
        card = {"type": "AdaptiveCard", "version": "1.4", "body": [block]}
        attachment = {"contentType": _CARD, "content": card}
        return {"type": "message", "attachments": [attachment]}
    return dict(notification)


class _Webhook(Session):
    """A session that takes every 2xx for accepted, whatever the answer's content is."""

    def _judged(self, response: requests.Response, body: bytes) -> Answer:  # noqa: ARG002
        return of_http(response.status_code, retry_after=response.headers.get("Retry-After"))
