//! Operations and entries as bytes, in a backup's blocks and in the notes of commits.
//!
//! Promises: what was written is read back; a length that cannot be is an error, not a large
//! allocation. Imports the store's operation.
//!
//! | field | form |
//! | --- | --- |
//! | kind | one byte: 0 a deletion, 1 a value |
//! | key | its length, u32 big-endian; its bytes |
//! | value | with 1 alone: the same |

use std::io::{self, Read};

use crate::store::{MAX_VALUE, Op};

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// The longest key that is read: a staged one holds another.
const MAX_KEY: usize = 4 * 1024;

/// Adds an operation to bytes.
pub(in crate::store) fn write(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Put(key, value) => write_put(out, key, value),
        Op::Delete(key) => {
            out.push(DELETE);
            write_field(out, key);
        }
    }
}

/// Adds a key and its value to bytes.
pub(in crate::store) fn write_put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.push(PUT);
    write_field(out, key);
    write_field(out, value);
}

fn write_field(out: &mut Vec<u8>, field: &[u8]) {
    // Keys and values are far below 4 GiB.
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
}

/// Reads one operation, and tells how many bytes it was.
pub(in crate::store) fn read_from(input: &mut impl Read) -> io::Result<(Op, u64)> {
    let mut kind = [0];
    input.read_exact(&mut kind)?;
    let key = read_field(input, "key", MAX_KEY)?;
    let mut bytes = 5 + key.len() as u64;
    let op = match kind[0] {
        DELETE => Op::Delete(key),
        PUT => {
            let value = read_field(input, "value", MAX_VALUE)?;
            bytes += 4 + value.len() as u64;
            Op::Put(key, value)
        }
        other => return Err(damaged(format!("operation {other} is not known"))),
    };
    Ok((op, bytes))
}

fn read_field(input: &mut impl Read, what: &str, max: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(damaged(format!("a {what} of {length} bytes; the most is {max}")));
    }
    let mut field = vec![0; length];
    input.read_exact(&mut field)?;
    Ok(field)
}

fn damaged(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_op() -> impl Strategy<Value = Op> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            (bytes(), bytes()).prop_map(|(key, value)| Op::Put(key, value)),
            bytes().prop_map(Op::Delete),
        ]
    }

    proptest! {
        #[test]
        fn operations_come_back(all in proptest::collection::vec(any_op(), 0..20)) {
            let mut bytes = Vec::new();
            for op in &all {
                write(&mut bytes, op);
            }
            let mut input = &bytes[..];
            let mut read = 0;
            for op in &all {
                let (back, length) = read_from(&mut input).unwrap();
                prop_assert_eq!(&back, op);
                read += length;
            }
            prop_assert_eq!(read, bytes.len() as u64);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read_from(&mut &bytes[..]);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_told() {
        let error = read_from(&mut &[1, 255, 255, 255, 255][..]).unwrap_err().to_string();
        assert_eq!(error, "a key of 4294967295 bytes; the most is 4096");
    }
}
