"""Who can be asked. Vendor names live here, as data.

builtin.toml    the built-in provider profiles, in the form of a user's [providers.NAME] table
models.toml     aliases, and the models of known size and price
profiles.py     built-in profiles with the user's tables merged over them
catalog.py    what the user wrote -> provider and exact model id
prices.py       what tokens cost
served.py       whether the model that answered is the one asked for
refresh.py      the catalog of today, on request
credentials.py  where a key comes from
claude.py       which Claude profiles there are; where a login is, never the login
cooldowns.py    who is known to be limited, and until when
pacing.py       how fast an account is asked
files.py        how this room writes its small private files
"""
