"""Secrets that must be seen nowhere: each test that makes one up registers it, and the suite looks for all of them at its end.

    password = canaries.make("basic-password")     # unique, easy to find
    canaries.add("jwt", signature)                 # one that came from somewhere else
"""

import secrets
import threading

SHORTEST = 9  # what is shorter cannot be told from anything else
LOCK = threading.Lock()
PLANTED = {}


def add(kind, text):
    """kind says in a report what leaked; the text itself is never printed. Returns the text."""
    if len(text) < SHORTEST:
        raise ValueError(f"{kind}: too short to be looked for")
    with LOCK:
        PLANTED[text] = kind
    return text


def make(kind, characters=""):
    """characters: odd ones that must stand in it, such as /+= of an AWS secret key."""
    return add(kind, f"canary{secrets.token_hex(12)}{characters}")


def planted():
    """{text: kind}"""
    with LOCK:
        return dict(PLANTED)
