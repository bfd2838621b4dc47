"""Writes what dateutil says of random recurrence rules, one case a line.

    cases.py SEED CASES

A line is: rule, beginning, moment, horizon, and the next firings after the moment until the horizon,
five at most, with tabs between; all in UTC, without offset. In place of firings stands "refused" when
dateutil does not read the rule or fails on it. The same seed gives the same lines.
"""

import random
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import dateutil.rrule
from dateutil.rrule import rrulestr

# dateutil looks for the next firing of a rule up to the year 9999, which takes seconds where there
# is none. It asks this module for that year.
calendar_end = SimpleNamespace(**vars(sys.modules["datetime"]))
dateutil.rrule.datetime = calendar_end

FIRINGS = 5
WEEKDAYS = "MO TU WE TH FR SA SU".split()
# dateutil walks from the beginning and knows no other end: the horizon keeps that short.
YEARS = {"DAILY": 3, "WEEKLY": 8, "MONTHLY": 25, "YEARLY": 60}


def signed(most):
    return [value for value in range(-most, most + 1) if value]


def some(rng, values, most=3):
    return ",".join(str(rng.choice(values)) for _ in range(rng.randint(1, most)))


def days(rng, freq, weeks, mixed):
    nth = signed(53 if freq == "YEARLY" and rng.random() < 0.4 else 5)
    numbered = freq in ("MONTHLY", "YEARLY") and not weeks and rng.random() < 0.6
    for _ in range(rng.randint(1, 3)):
        plain = not numbered or (mixed and rng.random() < 0.4)
        yield ("" if plain else str(rng.choice(nth))) + rng.choice(WEEKDAYS)


def by_dates(rng, freq):
    weeks = freq == "YEARLY" and rng.random() < 0.25
    if rng.random() < 0.3:
        yield f"BYMONTH={some(rng, range(1, 13))}"
    if rng.random() < (0.01 if freq == "WEEKLY" else 0.3):
        yield f"BYMONTHDAY={some(rng, signed(31))}"
    if rng.random() < (0.25 if freq == "YEARLY" else 0.01):
        yield f"BYYEARDAY={some(rng, signed(366))}"
    if weeks:
        yield f"BYWEEKNO={some(rng, rng.choice((signed(53), [1, 2, 51, 52, 53, -1, -52, -53])))}"
    if rng.random() < 0.5:
        yield "BYDAY=" + ",".join(days(rng, freq, weeks, rng.random() < 0.2))


def is_mixed(parts):
    """Whether weekdays stand both with a number and without."""
    items = "".join(part for part in parts if part.startswith("BYDAY="))[6:].split(",")
    return len({item[:-2] == "" for item in items}) > 1


def is_uncountable(parts):
    """Whether a known difference lies in what COUNT counts, so that it could not be predicted."""
    names = [part.split("=")[0] for part in parts]
    return is_mixed(parts) or "BYSETPOS" in names or "BYWEEKNO" in names


def rule(rng):
    freq = rng.choice(list(YEARS))
    parts = list(by_dates(rng, freq))
    if rng.random() < 0.3:
        parts.append(f"BYHOUR={some(rng, range(24))}")
    if rng.random() < 0.2:
        parts.append(f"BYMINUTE={some(rng, range(60))}")
    if rng.random() < 0.2:
        parts.append(f"BYSECOND={some(rng, range(60))}")
    # Two differences at once could not be predicted.
    unpredictable = is_mixed(parts) or any(
        part.startswith("BYWEEKNO=") and ("52" in part or "53" in part) for part in parts
    )
    if not unpredictable and rng.random() < (0.3 if parts else 0.01):
        parts.append(f"BYSETPOS={some(rng, signed(5))}")
    if rng.random() < 0.5:
        parts.append(f"INTERVAL={rng.choice((1, 2, 3, 4, 5, 6, 7, 12, 13))}")
    if rng.random() < 0.3:
        parts.append(f"WKST={rng.choice(WEEKDAYS)}")
    return freq, parts


def limit(rng, start, years, countable):
    end = start + timedelta(days=rng.uniform(0, 365 * years))
    form = rng.choice(("%Y%m%d", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ"))
    if countable and rng.random() < 0.5:
        return f"COUNT={rng.randint(1, 60)}", None
    return f"UNTIL={end.strftime(form)}", end


def firings(text, start, moment, horizon):
    # A beginning with a zone needs an end with one.
    zone = timezone.utc if "Z" in text.split("UNTIL=")[-1] and "UNTIL=" in text else None
    calendar_end.MAXYEAR = horizon.year
    found = []
    try:
        for at in rrulestr(text, dtstart=start.replace(tzinfo=zone)):
            at = at.replace(tzinfo=None)
            if at > horizon or len(found) == FIRINGS:
                break
            if at > moment:
                found.append(at.isoformat())
    except Exception:
        return "refused"
    return ",".join(found)


def main():
    seed, cases = map(int, sys.argv[1:])
    rng = random.Random(seed)
    for _ in range(cases):
        freq, parts = rule(rng)
        start = datetime(1970, 1, 2) + timedelta(seconds=rng.randint(0, 3_000_000_000))
        end = None
        if rng.random() < 0.25:
            text, end = limit(rng, start, YEARS[freq], not is_uncountable(parts))
            parts.append(text)
        rng.shuffle(parts)
        text = ";".join([f"FREQ={freq}", *parts])
        horizon = start + timedelta(days=365 * YEARS[freq])
        moment = start + timedelta(seconds=rng.randint(-86_400, 300 * 86_400 * YEARS[freq]))
        # Known differences lie at the beginning of some rules and at the end of others.
        early = freq == "WEEKLY" and any(part.startswith("BYSETPOS") for part in parts)
        if rng.random() < (0.9 if early else 0.3):
            moment = end - timedelta(days=rng.randint(0, 9)) if end else start - timedelta(seconds=1)
        said = firings(text, start, moment, horizon)
        print(text, start.isoformat(), moment.isoformat(), horizon.isoformat(), said, sep="\t")


main()
