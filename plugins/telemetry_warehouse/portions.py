"""Items in portions that a request or a row can hold."""

from collections.abc import Callable, Iterable, Iterator


def portions[T](
    items: Iterable[T], size: Callable[[T], int], most_bytes: int, most_items: int | None = None
) -> Iterator[list[T]]:
    """The items in order, each portion of at most so many bytes and items; one that is larger alone is one alone."""
    portion: list[T] = []
    total = 0
    for item in items:
        item_size = size(item)
        if portion and (len(portion) == most_items or total + item_size > most_bytes):
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += item_size
    if portion:
        yield portion
