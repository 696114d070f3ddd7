"""The history of draws: one immutable file per session, and an SQLite index of them."""
