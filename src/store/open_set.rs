//! The form of a chunk of a run's open deliveries.
//!
//! Promises: at most 513 bytes for 4,096 clients; reading never panics, whatever the bytes.
//! Imports the chunk's size from the engine.
//!
//! The first byte tells the form: 0, a list of offsets from the chunk's first client, u16 each,
//! rising; 1, a bitmap of 512 bytes, offset 0 in the lowest bit of the first byte; 2, all clients
//! of the chunk and nothing more.

use roaring::RoaringBitmap;

use crate::engine::CHUNK;

const LIST: u8 = 0;
const BITMAP: u8 = 1;
const FULL: u8 = 2;

const BITMAP_BYTES: usize = CHUNK as usize / 8;

/// The value for a set of client numbers within a chunk. The error is a number outside it.
pub(super) fn encode(chunk: u32, open: &RoaringBitmap) -> Result<Vec<u8>, u32> {
    let first = u64::from(chunk) * u64::from(CHUNK);
    let mut offsets = Vec::with_capacity(usize::try_from(open.len()).unwrap_or(0).min(4_096));
    for no in open {
        match u64::from(no).checked_sub(first) {
            // An offset is below 4,096 and fits.
            Some(offset) if offset < u64::from(CHUNK) => {
                offsets.push(u16::try_from(offset).unwrap_or(u16::MAX));
            }
            _ => return Err(no),
        }
    }
    if offsets.len() == CHUNK as usize {
        return Ok(vec![FULL]);
    }
    if offsets.len() * 2 < BITMAP_BYTES {
        let mut value = vec![LIST];
        value.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        return Ok(value);
    }
    let mut value = vec![0; 1 + BITMAP_BYTES];
    value[0] = BITMAP;
    for offset in offsets {
        value[1 + usize::from(offset / 8)] |= 1 << (offset % 8);
    }
    Ok(value)
}

/// Adds the client numbers of a chunk's value to a set.
pub(super) fn decode(chunk: u32, value: &[u8], open: &mut RoaringBitmap) -> Result<(), String> {
    let first = chunk
        .checked_mul(CHUNK)
        .ok_or_else(|| format!("chunk {chunk} is above the highest client number"))?;
    // The last chunk ends at the highest u32: no offset below 4,096 overflows.
    match value.split_first() {
        Some((&LIST, list)) if list.len() % 2 == 0 => {
            for offset in list.chunks_exact(2) {
                let offset = u32::from(u16::from_be_bytes([offset[0], offset[1]]));
                if offset >= CHUNK {
                    return Err(format!("offset {offset} is outside the chunk"));
                }
                open.insert(first + offset);
            }
        }
        Some((&BITMAP, bits)) if bits.len() == BITMAP_BYTES => {
            for (at, byte) in (0_u32..).zip(bits) {
                for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
                    open.insert(first + at * 8 + bit);
                }
            }
        }
        Some((&FULL, [])) => {
            open.insert_range(first..=first + (CHUNK - 1));
        }
        Some((form, rest)) => {
            return Err(format!("form {form} with {} bytes is not known", rest.len()));
        }
        None => return Err("it is empty".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAST: u32 = u32::MAX / CHUNK;

    proptest! {
        #[test]
        fn a_set_comes_back(
            chunk in prop_oneof![0_u32..3, Just(LAST)],
            offsets in proptest::collection::btree_set(0..CHUNK, 1..600),
        ) {
            let open: RoaringBitmap = offsets.iter().map(|offset| chunk * CHUNK + offset).collect();
            let value = encode(chunk, &open).unwrap();
            prop_assert!(value.len() <= 513);
            let mut back = RoaringBitmap::new();
            decode(chunk, &value, &mut back).unwrap();
            prop_assert_eq!(back, open);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            chunk in any::<u32>(),
            mut value in proptest::collection::vec(any::<u8>(), 0..520),
            form in 0_u8..4,
            whole in any::<bool>(),
        ) {
            if whole {
                value.resize(513, 0xff);
            }
            if let Some(first) = value.first_mut() {
                *first = form;
            }
            let mut open = RoaringBitmap::new();
            let _ = decode(chunk, &value, &mut open);
        }
    }

    #[test]
    fn full_and_nearly_full_chunks_come_back() {
        for chunk in [0, 7, LAST] {
            let first = chunk * CHUNK;
            let mut open = RoaringBitmap::new();
            open.insert_range(first..=first + (CHUNK - 1));
            for (set, bytes) in [(open.clone(), 1), (&open - RoaringBitmap::from([first]), 513)] {
                let value = encode(chunk, &set).unwrap();
                assert_eq!(value.len(), bytes);
                let mut back = RoaringBitmap::new();
                decode(chunk, &value, &mut back).unwrap();
                assert_eq!(back, set);
            }
        }
    }

    #[test]
    fn a_number_outside_the_chunk_is_named() {
        assert_eq!(encode(1, &RoaringBitmap::from([CHUNK, 2 * CHUNK])), Err(2 * CHUNK));
        assert_eq!(encode(1, &RoaringBitmap::from([5])), Err(5));
    }
}
