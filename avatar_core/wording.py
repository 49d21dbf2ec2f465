"""Numbers in words, as commands and pages say them."""


def size(number: float) -> str:
    """Return a number of bytes for people: 12 B, 3.4 MB, 1.2 TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
