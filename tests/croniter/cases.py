"""Writes what croniter says of random cron expressions, one case a line.

    cases.py SEED UTC_CASES ZONE_CASES

A line is: expression, time zone, start, and the next firings after it, with tabs between; times are
seconds since 1970, firings have commas between. In place of firings stands "never" when croniter
finds none, or "refused" when it does not read the expression. The same seed gives the same lines.
"""

import random
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

FIRINGS = 5
# 1970-01-02 to 2099-12-01: croniter looks 50 years ahead at most, and none is needed.
START = (86_400, 4_099_766_400)
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()

# The zones, and the hours at which none of their clocks has changed since 1990: there, what a day's
# fixed time means is beyond dispute. What happens at a change is told by the tables of the tests in
# src/schedule/tests.
ZONES = [
    "Europe/Stockholm",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "America/Los_Angeles",
    "Europe/London",
]
QUIET_HOURS = range(4, 23)
# From 1990 to 2037.
ZONE_START = (631_152_000, 2_114_380_800)


def number(rng, low, high):
    return str(rng.randint(low, high))


def span(rng, low, high, step=""):
    first, last = sorted(rng.sample(range(low, high + 1), 2))
    kind = rng.random()
    if kind < 0.02:
        first, last = last, first
    elif kind < 0.04 and not step:
        return f"{first}-{first}"
    return f"{first}-{last}{step}"


def item(rng, low, high):
    kind = rng.random()
    if kind < 0.55:
        return number(rng, low, high)
    if kind < 0.75:
        return span(rng, low, high)
    step = f"/{rng.randint(1, max(2, (high - low) // 2))}"
    if kind < 0.9:
        return span(rng, low, high, step)
    if kind < 0.99:
        return f"*{step}"
    return number(rng, low, high) + step


def field(rng, low, high, any_share):
    if rng.random() < any_share:
        return "*"
    return ",".join(item(rng, low, high) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def month(rng):
    if rng.random() < 0.15:
        names = sorted(rng.sample(range(12), 2))
        pick = [MONTHS[at] for at in names]
        return rng.choice((pick[0], "-".join(pick), ",".join(pick)))
    return field(rng, 1, 12, 0.6)


def day_of_month(rng):
    kind = rng.random()
    if kind < 0.05:
        return "L"
    if kind < 0.08:
        return rng.choice(("29,30", "31", "*/10", "1,8,30", "1,5,31"))
    return field(rng, 1, 31, 0.5)


def day_of_week(rng):
    kind = rng.random()
    if kind < 0.15:
        pick = [WEEKDAYS[at] for at in sorted(rng.sample(range(7), 2))]
        return rng.choice((pick[0].upper(), "-".join(pick), ",".join(pick)))
    if kind < 0.2:
        return f"{rng.randint(0, 6)}#{rng.randint(1, 5)}"
    if kind < 0.22:
        return rng.choice(("sun-sat", "0-6"))
    return field(rng, 0, 7, 0.55)


def expression(rng):
    days = [day_of_month(rng), month(rng), day_of_week(rng)]
    fields = [field(rng, 0, 59, 0.15), field(rng, 0, 23, 0.3), *days]
    if rng.random() < 0.2:
        fields.insert(0, field(rng, 0, 59, 0.1))
    return " ".join(fields)


def daily(rng):
    hours = ",".join(str(rng.choice(QUIET_HOURS)) for _ in range(rng.choice((1, 1, 2))))
    days = rng.choice(("* * *", "* * 1-5", "1 * *", "* 3,10 *", "* * sun"))
    return f"{rng.randint(0, 59)} {hours} {days}"


def firings(text, zone, start):
    at = datetime.fromtimestamp(start, timezone.utc if zone == "UTC" else ZoneInfo(zone))
    try:
        found = croniter(text, at, second_at_beginning=True)
    except Exception:
        return "refused"
    try:
        return ",".join(str(round(found.get_next(float))) for _ in range(FIRINGS))
    except CroniterBadDateError:
        return "never"


def main():
    seed, utc_cases, zone_cases = map(int, sys.argv[1:])
    rng = random.Random(seed)
    for case in range(utc_cases + zone_cases):
        zone = "UTC" if case < utc_cases else rng.choice(ZONES)
        text = expression(rng) if zone == "UTC" else daily(rng)
        start = rng.randint(*(START if zone == "UTC" else ZONE_START))
        print(text, zone, start, firings(text, zone, start), sep="\t")


main()
