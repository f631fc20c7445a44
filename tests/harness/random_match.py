"""Whether the agent can tell columns by what the log and the catalog say, as agent/capture/postgres/match.h has it:
worked out again here, from the same rules, by trying every way. A stream that is to be followed has nothing in it
that can't be told."""

Shape = tuple[int, tuple[tuple[int, str], ...]]  # attnums given so far; (attnum, name) of each column


def _ways(known: Shape, now: Shape, names: list[str]):
    """Every choice of columns, by attnum, that the names can stand for; and whether each is known by its name (2), or
    has no name that is known (1)."""
    before, after = dict(known[1]), dict(now[1])
    columns = sorted(before) + list(range(max(before, default=0) + 1, now[0] + 1))

    def place(at: int, taken: tuple, plain: int):
        if at == len(columns):
            if len(taken) == len(names):
                yield taken, plain
            return
        number, to_come = columns[at], len(names) - len(taken)
        if to_come:
            name, there = names[len(taken)], (before.get(number), after.get(number))
            yield from place(at + 1, (*taken, number), min(plain, 2 if name in there else there == (None, None)))
        if number not in after or (number not in before and not to_come):
            yield from place(at + 1, taken, plain)

    yield from place(0, (), 2)


def can_tell(known: Shape, now: Shape, log: Shape) -> bool:
    ways = list(_ways(known, now, [name for _, name in log[1]]))
    if len(ways) > 1:
        ways = [way for way in ways if way[1]]
        if any(plain < 2 for _, plain in ways):
            return False
    return len(ways) == 1 and ways[0][0] == tuple(number for number, _ in log[1])


def is_clear(shapes: list[Shape]) -> bool:
    """Whatever the agent knew last, and however far the catalog is ahead of the log."""
    count = len(shapes)
    return all(
        can_tell(shapes[known], shapes[now], shapes[log])
        for known in range(count) for log in range(known, count) for now in range(log, count))  # fmt: skip
