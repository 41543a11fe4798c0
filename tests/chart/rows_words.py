"""What docs/TROUBLESHOOTING.md quotes is what the program says."""

import os
import re

from harness import ROOT, need, test

SYSTEM = {os.strerror(number) for number in range(1, 134)}

CONVERSION = re.compile(r"%[-+ #0']*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|z|j|t)?[diouxXcsp]|%\"\s*PRI\w+\s*\"")


def literals():
    """Texts of the program: neighbouring literals joined, what printf fills in as an ellipsis."""
    found = []
    for folder in ("base", "mount", "cachecore", "csi"):
        for path in (ROOT / folder).glob("*.c"):
            text = re.sub(r'"\s*PRI\w+\s*"', "s", path.read_text())
            for joined in re.findall(r'(?:"(?:[^"\\\n]|\\.)*"\s*)+', text):
                parts = re.findall(r'"((?:[^"\\\n]|\\.)*)"', joined)
                found.append(CONVERSION.sub("…", "".join(parts)).replace('\\"', '"').replace("%%", "%"))
    return found


def is_said(message, texts):
    """Each piece is in the program. Ellipses divide pieces, and so do colons, where an error was prefixed on its way up; the system's own
    words for an errno count as said."""
    message = re.sub(r"^HTTP \d+( \w+)?: ", "", message)
    message = re.sub(r"^[a-z_]+ (error=)?", "", message) if re.match(r"[a-z]+_[a-z_]+ ", message) else message
    pieces = [piece.strip(" '\"") for part in message.split("…") for piece in part.split(": ")]
    return all(len(piece) <= 5 or piece in SYSTEM or any(piece in text for text in texts) for piece in pieces)


@test("troubleshooting-quotes-real-messages")
def quotes():
    texts = literals()
    quoted = []
    for line in (ROOT / "docs/TROUBLESHOOTING.md").read_text().splitlines():
        cells = line.split(" | ")
        if line.startswith("| `") and len(cells) == 3 and "Aborted" not in line:
            quoted += re.findall(r"`([^`]+)`", cells[0])
        elif re.match(r"`[a-z]", line):
            quoted += [text for text in re.findall(r"`([^`]+)`", line) if " " in text and "…" in text and not text.startswith("kubectl")]
    unsaid = [message for message in quoted if not is_said(message, texts)]
    need(len(quoted) > 40, f"only {len(quoted)} messages found in the page")
    need(not unsaid, f"the program does not say: {unsaid}")
    return f"{len(quoted)} messages"
