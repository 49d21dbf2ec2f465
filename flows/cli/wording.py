"""Numbers and counts in words, as several commands say them."""

from flows.run_plan import Counts


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 avatar, 2,000 avatars, 3 bodies."""
    if number == 1:
        return f"{number} {noun}"
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {plural}"


def reviewed(review: str) -> str:
    """Return what a review says: approved, rejected, asked for from a new seed."""
    return "asked for from a new seed" if review == "requested" else review


def shared_work(counts: Counts) -> str:
    """Return how much of their work a plan's rows share: 1,000,000 rows: 41,233 bodies, 12,870 motions, ..."""
    unique = counts.unique
    parts = (
        count(unique.get("coarse_shape", 0), "body"),
        count(unique.get("motion", 0), "motion"),
        count(unique.get("texturing", 0), "texture"),
    )
    return f"{count(counts.rows, 'row')}: {', '.join(parts)}"


def near_duplicates(counts: Counts) -> str:
    """Return how many rows of a plan nearly repeat others; empty where none does."""
    if not counts.near_duplicates:
        return ""
    verb = "repeats another" if counts.near_duplicates == 1 else "repeat others"
    return f"{count(counts.near_duplicates, 'row')} nearly {verb}: the same words and seed."
