//! Places of events within a segment: sets of small numbers.
//!
//! A set is its form, one byte, and its bytes with their length before them. Form 0: stretches of
//! neighbours, each how far it begins after the end of the one before, times two, and one more if
//! it is longer than one, varint; then its length less two, varint. Form 1, for sets that form 0
//! would make longer: a bit for each number from 0 on, the lowest first.

use roaring::RoaringBitmap;

use crate::bytes::{Damaged, Reader, put_bytes, put_varint};

const STRETCHES: u8 = 0;
const BITS: u8 = 1;

/// No place is as high.
const MAX: u32 = 1 << 16;

/// Appends a set. Its numbers are given in ascending order.
pub(super) fn put(out: &mut Vec<u8>, places: &[u32]) {
    let mut stretches = Vec::new();
    let mut end = 0;
    let mut rest = places;
    while let Some(&first) = rest.first() {
        let length = (0..).zip(rest).take_while(|(n, place)| first + n == **place).count();
        put_varint(&mut stretches, u64::from(first - end) * 2 + u64::from(length > 1));
        if length > 1 {
            put_varint(&mut stretches, length as u64 - 2);
        }
        end = rest[length - 1] + 1;
        rest = &rest[length..];
    }
    let bits = end.div_ceil(8) as usize;
    if stretches.len() <= bits {
        out.push(STRETCHES);
        put_bytes(out, &stretches);
        return;
    }
    let mut set = vec![0; bits];
    for place in places {
        set[(place / 8) as usize] |= 1 << (place % 8);
    }
    out.push(BITS);
    put_bytes(out, &set);
}

/// Reads a set and adds it to another.
pub(super) fn add(reader: &mut Reader<'_>, to: &mut RoaringBitmap) -> Result<(), Damaged> {
    let form = reader.byte()?;
    let bytes = reader.bytes()?;
    match form {
        STRETCHES => add_stretches(Reader::new(bytes, "places"), to),
        BITS => {
            for (at, byte) in (0_u32..).zip(bytes) {
                to.extend((0..8).filter(|bit| byte & (1 << bit) != 0).map(|bit| at * 8 + bit));
            }
            Ok(())
        }
        other => Err(Damaged(format!("places of form {other} are not known"))),
    }
}

fn add_stretches(mut reader: Reader<'_>, to: &mut RoaringBitmap) -> Result<(), Damaged> {
    let too_far = || Damaged("a place is above the highest".to_owned());
    let mut end = 0_u32;
    while !reader.is_empty() {
        let head: u64 = reader.varint()?;
        let length = if head % 2 == 1 { reader.number::<u32>()?.saturating_add(2) } else { 1 };
        let after = u32::try_from(head / 2).map_err(|_| too_far())?;
        let first = end.checked_add(after).ok_or_else(too_far)?;
        end = first.checked_add(length).filter(|end| *end <= MAX).ok_or_else(too_far)?;
        to.insert_range(first..end);
    }
    Ok(())
}

/// Passes over a set.
pub(super) fn skip(reader: &mut Reader<'_>) -> Result<(), Damaged> {
    reader.byte()?;
    reader.bytes().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_comes_back(
            mut parts in proptest::collection::vec((0_u32..400, 1_u32..300), 0..60),
        ) {
            let mut end = 0;
            let mut places = Vec::new();
            for (after, length) in parts.drain(..) {
                places.extend(end + after..end + after + length);
                end += after + length;
            }
            let mut out = Vec::new();
            put(&mut out, &places);
            put(&mut out, &[7]);
            let mut reader = Reader::new(&out, "a test");
            let mut found = RoaringBitmap::new();
            add(&mut reader, &mut found).unwrap();
            prop_assert_eq!(found, places.iter().copied().collect::<RoaringBitmap>());
            skip(&mut reader).unwrap();
            prop_assert!(reader.is_empty());
            let most = 4 + places.last().map_or(0, |last| *last as usize / 8 + 1);
            prop_assert!(out.len() - 3 <= most, "{} bytes", out.len());
        }

        #[test]
        fn every_second_place_takes_a_bit(every in 1_u32..4) {
            let places: Vec<u32> = (0..16_384).step_by(every as usize).collect();
            let mut out = Vec::new();
            put(&mut out, &places);
            let mut found = RoaringBitmap::new();
            add(&mut Reader::new(&out, "a test"), &mut found).unwrap();
            prop_assert_eq!(found.len(), places.len() as u64);
            prop_assert!(out.len() <= 2_048 + 4, "{} bytes", out.len());
        }

        #[test]
        fn reading_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut set = RoaringBitmap::new();
            let _ = add(&mut Reader::new(&bytes, "a test"), &mut set);
            let _ = skip(&mut Reader::new(&bytes, "a test"));
        }
    }
}
