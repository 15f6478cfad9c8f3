"""The pages of the documentation, and the scripts that make some of them."""
