"""Failures to rehearse, each in the message of the vendor that it imitates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

from autoroute.demo.server import Fault

_ALWAYS = 10_000
_CHINA = timezone(timedelta(hours=8))  # Z.AI writes reset times in this zone, without naming it


def _body(vendor: str, wire: str, *, type: str, code: str, zai: str, message: str) -> Any:
    if vendor.startswith("zai"):
        return {"error": {"code": zai, "message": message}}
    if wire == "anthropic-messages":
        return {"type": "error", "error": {"type": type, "message": message}}
    return {"error": {"message": message, "type": type, "code": code, "param": None}}


def _burst(vendor: str, wire: str, _model: str) -> Fault:
    message = "Too many requests at once. Please slow down."
    body = _body(vendor, wire, type="rate_limit_error", code="rate_limit_exceeded", zai="1302", message=message)
    return Fault("status", vendor=vendor, times=2, status=429, headers={"retry-after": "1"}, body=body)


def _overloaded(vendor: str, wire: str, _model: str) -> Fault:
    body = _body(vendor, wire, type="overloaded_error", code="server_is_overloaded", zai="1305", message="Overloaded")
    return Fault("status", vendor=vendor, times=2, status=529, body=body)


def _unauthorized(vendor: str, wire: str, _model: str) -> Fault:
    message = "The key is not valid any more."
    body = _body(vendor, wire, type="authentication_error", code="invalid_api_key", zai="1002", message=message)
    return Fault("status", vendor=vendor, times=_ALWAYS, status=401, body=body)


def _quota(vendor: str, wire: str, _model: str) -> Fault:
    reset = datetime.now(UTC) + timedelta(hours=3)
    if vendor.startswith("zai"):
        message = (
            f"Usage limit reached for 5 hour. Your limit will reset at {reset.astimezone(_CHINA):%Y-%m-%d %H:%M:%S}"
        )
    else:
        message = "You have reached your usage limit."
    body = _body(vendor, wire, type="rate_limit_error", code="insufficient_quota", zai="1308", message=message)
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-unified-reset": str(int(reset.timestamp())),
    }
    sent_headers = headers if wire == "anthropic-messages" and not vendor.startswith("zai") else {}
    return Fault("status", vendor=vendor, times=_ALWAYS, status=429, headers=sent_headers, body=body)


def _balance(vendor: str, wire: str, _model: str) -> Fault:
    message = "Insufficient balance. Please recharge."
    body = _body(vendor, wire, type="billing_error", code="insufficient_quota", zai="1113", message=message)
    return Fault("status", vendor=vendor, times=_ALWAYS, status=429 if vendor.startswith("zai") else 402, body=body)


def _page(vendor: str, _wire: str, _model: str) -> Fault:
    page = "<html><head><title>502 Bad Gateway</title></head></html>"
    return Fault("status", vendor=vendor, times=2, status=502, headers={"Content-Type": "text/html"}, body=page)


def _drop(vendor: str, _wire: str, _model: str) -> Fault:
    return Fault("drop", vendor=vendor, times=2)


def _cut(vendor: str, _wire: str, _model: str) -> Fault:
    return Fault("cut", vendor=vendor, times=1)


def _garbage(vendor: str, _wire: str, _model: str) -> Fault:
    return Fault("garbage", vendor=vendor, times=1)


def _wrong_model(vendor: str, _wire: str, model: str) -> Fault:
    return Fault("misname", vendor=vendor, times=_ALWAYS, body={"asked": model, "served": "another-model"})


SIMULATIONS: Mapping[str, Callable[[str, str, str], Fault]] = MappingProxyType(
    {
        "401": _unauthorized,
        "429": _burst,
        "529": _overloaded,
        "quota": _quota,
        "balance": _balance,
        "html": _page,
        "drop": _drop,
        "cut": _cut,
        "garbage": _garbage,
        "wrong-model": _wrong_model,
    }
)
"""Name -> a function from vendor, wire and model id to the fault. The caller sets ``offers`` to choose the phase."""
