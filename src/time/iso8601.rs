//! Durations as ISO 8601 writes them: `P1D`, `PT1H30M`, `PT0.5S`.
//!
//! Promises: what is read has one fixed length; years and months, which have none, are refused.
//! Imports nothing of fleetcron.

use std::time::Duration;

/// A letter and the milliseconds that it stands for, in the order in which they are written.
type Units<'a> = &'a [(char, u64)];

const OF_DATE: Units<'_> = &[('W', 604_800_000), ('D', 86_400_000)];
const OF_TIME: Units<'_> = &[('H', 3_600_000), ('M', 60_000), ('S', 1_000)];

/// Reads what follows the leading `P`, or tells what is wrong with it.
pub(super) fn parse(body: &str) -> Result<Duration, String> {
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err("nothing follows the T".into()),
        Some((date, time)) => (date, time),
        None if body.is_empty() => return Err("nothing follows the P".into()),
        None => (body, ""),
    };
    if date.contains(['Y', 'M']) {
        return Err("years and months have no fixed length (minutes follow a T)".into());
    }
    let millis = part(date, OF_DATE)?.checked_add(part(time, OF_TIME)?);
    millis.map(Duration::from_millis).ok_or_else(too_long)
}

fn too_long() -> String {
    "it is too long".to_owned()
}

/// The sum of a part's components, in milliseconds.
fn part(mut text: &str, mut units: Units<'_>) -> Result<u64, String> {
    let mut sum = 0_u64;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
        let Some((number, rest)) = end.map(|end| text.split_at(end)) else {
            return Err(format!("{text:?} has no unit"));
        };
        let mut rest = rest.chars();
        let letter = rest.next().unwrap_or_default();
        let Some(place) = units.iter().position(|(unit, _)| *unit == letter) else {
            return Err(format!("{letter:?} is not a unit, or not in its place"));
        };
        let (_, length) = units[place];
        let millis = match number.split_once(['.', ',']) {
            None => whole(number)?.checked_mul(length),
            Some((seconds, fraction)) if letter == 'S' => {
                let fraction = thousandths(fraction)?;
                whole(seconds)?.checked_mul(length).and_then(|ms| ms.checked_add(fraction))
            }
            Some(_) => return Err("only seconds may have a fraction".into()),
        };
        sum = millis.and_then(|millis| sum.checked_add(millis)).ok_or_else(too_long)?;
        units = &units[place + 1..];
        text = rest.as_str();
    }
    Ok(sum)
}

fn whole(number: &str) -> Result<u64, String> {
    number.parse().map_err(|_| format!("{number:?} is not a number before its unit"))
}

/// The milliseconds of a decimal fraction of up to three digits.
fn thousandths(fraction: &str) -> Result<u64, String> {
    if fraction.len() > 3 {
        return Err("the smallest unit is 1ms: three digits after the point".into());
    }
    whole(&format!("{fraction:0<3}")).map_err(|_| format!("{fraction:?} is not a fraction"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_iso_8601_are_read() {
        for (text, millis) in [
            ("1D", 86_400_000),
            ("T1H30M", 5_400_000),
            ("T90S", 90_000),
            ("1DT12H", 129_600_000),
            ("2W", 1_209_600_000),
            ("1W1DT1H1M1S", 694_861_000),
            ("T0.5S", 500),
            ("T1,025S", 1_025),
            ("T0S", 0),
            ("T36H", 129_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "P{text}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_or_no_sense_is_refused_with_the_reason() {
        for (text, problem) in [
            ("", "nothing follows the P"),
            ("1DT", "nothing follows the T"),
            ("1Y", "years and months have no fixed length"),
            ("1M", "years and months have no fixed length"),
            ("1Y2DT3H", "years and months have no fixed length"),
            ("1H", "'H' is not a unit, or not in its place"),
            ("T1M1H", "'H' is not a unit, or not in its place"),
            ("T1H1H", "'H' is not a unit, or not in its place"),
            ("T1D", "'D' is not a unit, or not in its place"),
            ("1D1W", "'W' is not a unit, or not in its place"),
            ("T5", "\"5\" has no unit"),
            ("D", "\"\" is not a number before its unit"),
            ("T-1S", "'-' is not a unit"),
            ("1.5D", "only seconds may have a fraction"),
            ("T.5S", "\"\" is not a number before its unit"),
            ("T0.0005S", "the smallest unit is 1ms"),
            ("T1..5S", "\".5\" is not a fraction"),
            ("99999999999999999999D", "is not a number before its unit"),
            ("9999999999999999W", "it is too long"),
            ("T1é", "'é' is not a unit"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(problem), "P{text}: {told}");
        }
    }
}
