"""What the process may know: an allow list of the user's environment, one account, and how it is to behave.

Nothing of ``ANTHROPIC_*`` or ``CLAUDE_*`` comes from the shell: a variable that is meant for another provider would
send a phase elsewhere, or a login to a stranger. Variables are those of the command line 2.1.330.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from autoroute.providers.builtin import is_loopback
from autoroute.providers.claude_profiles import CONFIG_DIR_VARIABLE, ClaudeProfile
from autoroute.routing import Clocks, ProviderProfile, Secret

_PASSED = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM"),
        *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
        *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
        *("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"),  # for a login
        *("SYSTEMROOT", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "TEMP", "TMP"),
    )
)
_QUIET: Mapping[str, str] = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
_OURS_DECIDES: Mapping[str, str] = {
    # Retries, shortening and other models are for recovery to decide, where a person sees it.
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
    "DISABLE_AUTO_COMPACT": "1",
    # It would read any file of the user's that a text of ours names as @path, whoever wrote that text.
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    # A workspace is what a model may write: git status there can run programs of the model's choice.
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    # Our tools take as long as they take, and say as much as they say.
    "ENABLE_TOOL_SEARCH": "false",
    "MCP_TOOL_TIMEOUT": str(24 * 3600 * 1000),
    "MAX_MCP_OUTPUT_TOKENS": "1000000",
    "CLAUDE_CODE_SKIP_MCP_DEBUG_LOG_FILES": "1",
}
_TIERS = ("OPUS", "SONNET", "HAIKU", "FABLE")


def plain_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What is passed on whatever the account is."""
    kept = {name: value for name, value in environ.items() if name in _PASSED or name.startswith("LC_")}
    return {"PATH": os.defpath, **kept, **_QUIET}


def login_environment(environ: Mapping[str, str], login: ClaudeProfile, own_folder: Path) -> dict[str, str]:
    """One login and no other. A token has a folder of its own, so that it meets no stored login."""
    account: dict[str, str] = {}
    if login.token_env:
        account = {login.token_as: environ.get(login.token_env, ""), CONFIG_DIR_VARIABLE: str(own_folder)}
    elif login.config_dir is not None:
        account = {CONFIG_DIR_VARIABLE: str(login.config_dir)}
    return {**plain_environment(environ), **account}


def gateway_environment(
    environ: Mapping[str, str], profile: ProviderProfile, model: str, secret: Secret | None, own_folder: Path
) -> dict[str, str]:
    """Another provider by its own key: always address and key together, in a folder that holds no login.

    With the address alone a stored login would be sent there.
    """
    key = secret.reveal(profile.base_url) if secret else "none"
    by_header = profile.auth == "x-api-key"
    return {
        **plain_environment(environ),
        CONFIG_DIR_VARIABLE: str(own_folder),
        "ANTHROPIC_BASE_URL": profile.base_url,
        "ANTHROPIC_API_KEY": key if by_header else "",
        **({} if by_header else {"ANTHROPIC_AUTH_TOKEN": key}),
        # Every model that it could think of is the one that was chosen.
        **{f"ANTHROPIC_DEFAULT_{tier}_MODEL": model for tier in _TIERS},
        "CLAUDE_CODE_SUBAGENT_MODEL": model,
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        # Without it a message of role "system" stands between the others, which compatible servers refuse.
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "CLAUDE_CODE_DISABLE_UNKNOWN_MODEL_WINDOW_ENFORCEMENT": "1",
    }


def working_environment(
    base: Mapping[str, str], profile: ProviderProfile, clocks: Clocks, cache: Path, max_tokens: int
) -> dict[str, str]:
    """For a conversation, on top of an account; ``cache`` is for what it writes of our tools, a folder a workspace."""
    # Only on this machine may a login go to another address: a server that plays the vendor.
    played = {"ANTHROPIC_BASE_URL": profile.base_url} if profile.logins and is_loopback(profile.base_url) else {}
    return {
        **base,
        **_OURS_DECIDES,
        **played,
        "XDG_CACHE_HOME": str(cache),
        "API_TIMEOUT_MS": str(int(clocks.turn * 1000)),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(max_tokens),
    }
