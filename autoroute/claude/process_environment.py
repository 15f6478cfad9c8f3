"""The environment of a Claude Code process: an allow list of the user's variables, one account, and its behavior.

No ``ANTHROPIC_*`` or ``CLAUDE_*`` variable of the shell is passed on. One that is meant for another provider would send
a phase there: with only ``ANTHROPIC_BASE_URL`` set, Claude Code sends the stored OAuth token to that URL (measured with
2.1.330, the version whose variables these are).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from autoroute.providers.builtin import is_loopback
from autoroute.providers.claude_profiles import CONFIG_DIR_VARIABLE, ClaudeProfile
from autoroute.routing import Clocks, ProviderProfile, Secret

_PASSED_VARIABLES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM"),
        *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
        *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
        *("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"),  # a login opens the browser
        *("SYSTEMROOT", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "TEMP", "TMP"),
    )
)
_NO_EXTRA_TRAFFIC: Mapping[str, str] = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
_CONTROLLED_BY_AUTOROUTE: Mapping[str, str] = {
    # The recovery policy decides about retries and other models, and compaction about length, where the user sees it.
    # Without the first line, Claude Code retries a 429 ten times, for about three minutes (2.1.330).
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
    "DISABLE_AUTO_COMPACT": "1",
    # Claude Code would read each file that a prompt mentions as @path, also in text that a stranger wrote.
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    # A model can write to the workspace, so `git status` there can run programs of the model's choice.
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    # The time and the output of tools are limited by autoroute itself.
    "ENABLE_TOOL_SEARCH": "false",
    "MCP_TOOL_TIMEOUT": str(24 * 3600 * 1000),
    "MAX_MCP_OUTPUT_TOKENS": "1000000",
    "CLAUDE_CODE_SKIP_MCP_DEBUG_LOG_FILES": "1",
}
_MODEL_TIERS = ("OPUS", "SONNET", "HAIKU", "FABLE")


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that every process gets, whatever its account."""
    passed = {name: value for name, value in environ.items() if name in _PASSED_VARIABLES or name.startswith("LC_")}
    return {"PATH": os.defpath, **passed, **_NO_EXTRA_TRAFFIC}


def login_environment(environ: Mapping[str, str], login: ClaudeProfile, own_folder: Path) -> dict[str, str]:
    """Return the environment for one login and no other.

    A token gets ``own_folder`` as its configuration folder, so that no stored login is in its way.
    """
    account: dict[str, str] = {}
    if login.token_env:
        account = {login.token_as: environ.get(login.token_env, ""), CONFIG_DIR_VARIABLE: str(own_folder)}
    elif login.config_dir is not None:
        account = {CONFIG_DIR_VARIABLE: str(login.config_dir)}
    return {**base_environment(environ), **account}


def gateway_environment(
    environ: Mapping[str, str], profile: ProviderProfile, model: str, secret: Secret | None, own_folder: Path
) -> dict[str, str]:
    """Return the environment for another provider with its own key.

    URL and key are always set together, and ``own_folder`` holds no login. With the URL alone, Claude Code would send a
    stored login there.
    """
    key = secret.reveal(profile.base_url) if secret else "none"
    uses_api_key_header = profile.auth == "x-api-key"
    return {
        **base_environment(environ),
        CONFIG_DIR_VARIABLE: str(own_folder),
        "ANTHROPIC_BASE_URL": profile.base_url,
        "ANTHROPIC_API_KEY": key if uses_api_key_header else "",
        **({} if uses_api_key_header else {"ANTHROPIC_AUTH_TOKEN": key}),
        # Map every model that Claude Code may select to the chosen one.
        **{f"ANTHROPIC_DEFAULT_{tier}_MODEL": model for tier in _MODEL_TIERS},
        "CLAUDE_CODE_SUBAGENT_MODEL": model,
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        # Else a message with the role "system" follows others, which some compatible servers reject with 400.
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "CLAUDE_CODE_DISABLE_UNKNOWN_MODEL_WINDOW_ENFORCEMENT": "1",
    }


def conversation_environment(
    base: Mapping[str, str], profile: ProviderProfile, clocks: Clocks, cache: Path, max_tokens: int
) -> dict[str, str]:
    """Return the environment of a conversation, based on that of an account.

    ``cache`` is the folder where Claude Code writes files about its MCP servers, in a folder for each workspace.
    """
    # A login may be sent to another URL only on this machine, to a test server in place of the vendor.
    stand_in = {"ANTHROPIC_BASE_URL": profile.base_url} if profile.logins and is_loopback(profile.base_url) else {}
    return {
        **base,
        **_CONTROLLED_BY_AUTOROUTE,
        **stand_in,
        "XDG_CACHE_HOME": str(cache),
        "API_TIMEOUT_MS": str(int(clocks.turn * 1000)),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(max_tokens),
    }
