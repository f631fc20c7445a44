"""Whether the agent can tell columns by what the log and the catalog say, as agent/capture/postgres/match.h has it:
worked out again here, from the same rules, by trying every way. A stream that is to be followed has nothing in it
that can't be told."""

Shape = tuple[int, tuple[tuple[int, str], ...]]  # the last attnum that it knows of; (attnum, name) of each column


def _ways(known: Shape, now: Shape, names: list[str]):
    """Every choice of columns, by attnum, that the names can stand for; and whether each is known by its name (2), or
    has no name that is known (1)."""
    before, after = dict(known[1]), dict(now[1])
    columns = sorted(before) + list(range(known[0] + 1, now[0] + 1))

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


def is_clear(shapes: list[Shape], last: int) -> bool:
    """Whatever the agent knew last, and however far the catalog is ahead of the log. `last`: of what it knows of, whether
    from the catalog at its start or from the log since."""
    count = len(shapes)
    known = [(max(last, *(number for number, _ in columns)), columns) for _, columns in shapes]
    return all(
        can_tell(known[before], shapes[now], shapes[log])
        for before in range(count) for log in range(before, count) for now in range(log, count))  # fmt: skip
