"""Who can be asked. Vendor names live here, as data.

builtin.toml        the built-in provider profiles, in the form of a user's [providers.NAME] table
models.toml         aliases, and the models of known size and price
builtin.py          built-in profiles with the user's tables merged over them
accounts.py         the accounts of each provider, and where each key may be found
catalog.py          what the user wrote -> provider and exact model id
catalog_refresh.py  the catalog of today, on request
prices.py           what tokens cost
served_model.py     whether the model that answered is the one asked for
credentials.py      where a key comes from
claude_profiles.py  which Claude profiles there are; where a login is, never the login
cooldowns.py        who is known to be limited, and until when
pacing.py           how fast an account is asked
"""
