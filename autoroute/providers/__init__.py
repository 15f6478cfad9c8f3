"""The providers: their profiles, accounts, credentials, models and limits. Vendor names are data, and live here.

builtin.toml        the built-in provider profiles, in the form of a user's [providers.NAME] table
models.toml         aliases, and the models whose sizes and prices are known
builtin.py          loads the built-in profiles and merges the user's tables over them
accounts.py         reads the accounts of each provider: where each key may be found
credentials.py      finds the key of an account
key_store.py        keeps the keys of ``autoroute login``, in the OS keyring or in a private file
catalog.py          resolves what the user wrote to a provider and an exact model id
catalog_refresh.py  converts the model listing of models.dev, on request
prices.py           computes what tokens cost
served_model.py     decides whether the model that answered is the one that was asked for
claude_profiles.py  finds the Claude profiles: where each login is, never the login
cooldowns.py        remembers who is rate-limited, and until when
pacing.py           limits how fast an account is asked
"""
