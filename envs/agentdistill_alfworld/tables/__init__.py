"""Data tables made by `scripts/make_alfworld_tables.py`; see NOTICE.md for their origin and licence."""
