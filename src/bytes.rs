//! Numbers and texts in compact stored forms: varints of seven bits to a byte, the lowest first,
//! as in Protocol Buffers; texts with their length before them. And bytes as digits, for people.
//!
//! Promises: reading never panics, whatever the bytes; what was written comes back. Imports
//! nothing of fleetcron.

/// What is wrong with stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub String);

/// Bytes as hexadecimal digits, two to a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Appends a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a number that may be below zero.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends bytes with their length before them.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from the front of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of the bytes of `what`, such as `a page`, by which its errors call it.
    pub(crate) fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| Damaged(format!("it ends within {}", self.what)))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        // `take` gives exactly so many bytes.
        self.take(N)?.try_into().map_err(|_| Damaged(format!("it ends within {}", self.what)))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged("a number is longer than 64 bits".to_owned()))
    }

    /// A varint that fits a smaller type.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| Damaged(format!("number {value} is above the highest")))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        // A length beyond memory is beyond the bytes there are, too.
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|error| Damaged(format!("a text is not UTF-8: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_comes_back(
            a in any::<u64>(), b in any::<i64>(), text in ".{0,40}", rest in any::<[u8; 3]>(),
        ) {
            let mut out = Vec::new();
            put_varint(&mut out, a);
            put_signed(&mut out, b);
            put_bytes(&mut out, text.as_bytes());
            out.extend_from_slice(&rest);
            let mut reader = Reader::new(&out, "a test");
            prop_assert_eq!(reader.varint().unwrap(), a);
            prop_assert_eq!(reader.signed().unwrap(), b);
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert_eq!(reader.array::<3>().unwrap(), rest);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn reading_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let reader = Reader::new(&bytes, "a test");
            let _ = (reader.clone().varint(), reader.clone().signed(), reader.clone().text());
            let _ = (reader.clone().number::<u16>(), reader.clone().array::<16>());
        }
    }
}
