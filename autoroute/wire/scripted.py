"""The wire ``scripted``: replies come from a script file on this machine, without HTTP, model or key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from autoroute.demo.script import Script
from autoroute.errors import ConfigError
from autoroute.messages import Delta, Part, Reply, Request, Stop, Text, Thinking, ToolCall
from autoroute.routing import Clocks, ProviderProfile, Route, Secret
from autoroute.wire.codec import build_message
from autoroute.wire.payload import RequestDigest


class ScriptedModel:
    """A ``Model`` that plays a script: the same conversation gets the same replies."""

    def __init__(self, profile: ProviderProfile, script: Script) -> None:
        self._profile = profile
        self._script = script
        self._digest = RequestDigest()

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn; see ``Model``."""
        answered = sum(message.role == "assistant" for message in request.messages)
        prompt = request.messages[0].text if request.messages else ""
        scripted = self._script.reply([tool.name for tool in request.tools], prompt, answered)
        parts: list[Part] = []
        if scripted.thinking:
            yield Delta("thinking", scripted.thinking)
            parts.append(Thinking(scripted.thinking, self._profile.name, request.model))
        if scripted.text:
            yield Delta("text", scripted.text)
            parts.append(Text(scripted.text))
        for call in scripted.calls:
            yield Delta("tool", f"{call.name} {call.arguments}")
            parts.append(ToolCall("", call.name, call.arguments))
        message, stop = build_message(parts, Stop.END, request)
        yield Reply(message, stop, served_model=request.model)

    def digest(self, request: Request) -> str:
        """Return the SHA-256 of the request's own JSON."""
        return self._digest.of(request)

    def interrupt(self) -> None:
        """Do nothing: a reply from a file is immediate."""

    def close(self) -> None:
        """Do nothing: the script was read when the model was made."""


def connect(profile: ProviderProfile, _route: Route, _secret: Secret | None, _clocks: Clocks) -> ScriptedModel:
    """Return a model that plays the script at the profile's ``base_url``.

    Raises ``ConfigError`` for an address that is not a ``file://`` URL.
    """
    url = urlsplit(profile.base_url)
    if url.scheme != "file":
        raise ConfigError(
            f"base_url in [providers.{profile.name}] is not a file:// URL, which the wire scripted needs: "
            f"{profile.base_url}",
            hint='for example: base_url = "file:///path/to/script.json"',
        )
    return ScriptedModel(profile, Script.load(Path(unquote(url.path))))
