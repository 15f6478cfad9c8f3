"""The wire ``scripted``: replies come from a script file on this machine. No HTTP, no model, no key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from autoroute.demo.script import Script
from autoroute.errors import ConfigError
from autoroute.messages import Delta, Part, Reply, Request, Stop, Text, Thinking, ToolCall
from autoroute.routing import Clocks, ProviderProfile, Route, Secret
from autoroute.wire.codec import finish


class ScriptedModel:
    """Plays a script: the same conversation gets the same replies."""

    def __init__(self, profile: ProviderProfile, script: Script) -> None:
        self._profile = profile
        self._script = script

    def ask(self, request: Request) -> Iterator[Delta | Reply]:
        """Stream one turn; see ``Model``."""
        answered = sum(message.role == "assistant" for message in request.messages)
        first_words = request.messages[0].text if request.messages else ""
        scripted = self._script.reply([tool.name for tool in request.tools], first_words, answered)
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
        message, stop = finish(parts, Stop.END, request)
        yield Reply(message, stop, served_model=request.model)

    def close(self) -> None:
        """Nothing is held."""


def connect(profile: ProviderProfile, _route: Route, _secret: Secret | None, _clocks: Clocks) -> ScriptedModel:
    """A model that plays the script at the profile's ``base_url``, a ``file://`` URL; ``ConfigError`` for any other."""
    url = urlsplit(profile.base_url)
    if url.scheme != "file":
        raise ConfigError(
            f"base_url of [providers.{profile.name}] is {profile.base_url}, and the wire scripted needs a file:// URL",
            hint="write file:///path/to/script.json",
        )
    return ScriptedModel(profile, Script.load(Path(unquote(url.path))))
