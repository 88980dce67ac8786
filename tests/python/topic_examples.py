"""Filters with wildcards, and the topics that each of them matches: the same in this process and over a server."""

TOPICS = ["a", "a.b", "a.c", "a.b.c", "b", None]

MATCHES = [
    ("a", ["a"]),
    ("a.*", ["a.b", "a.c"]),
    ("a.>", ["a.b", "a.c", "a.b.c"]),
    (">", ["a", "a.b", "a.c", "a.b.c", "b"]),
    ("*.b", ["a.b"]),
    ("*", ["a", "b"]),
    ("A", []),
]
