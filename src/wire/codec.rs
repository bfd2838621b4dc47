//! Bytes to frames and back. No I/O.
//!
//! A good frame is parsed once. Only a bad one is looked at again, to say what is wrong with it.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::HEADER;
use super::frame::Frame;

/// Characters of a bad value that an error repeats.
const SHOWN: usize = 120;

/// Bytes that there is room for when the first frame is written: nearly every frame has fewer, and
/// does not grow step by step.
const ROOM: usize = 256;

/// Why bytes are not a frame. The connection cannot go on after it.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The length before the frame is not allowed.
    #[error("a frame of {length} bytes is announced; allowed are 1 to {max}")]
    Length {
        /// What was announced.
        length: usize,
        /// The most allowed.
        max: usize,
    },
    /// A frame to be sent is longer than the other side reads.
    #[error("a frame of {length} bytes was to be sent; the most the other side reads is {max}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The most allowed.
        max: usize,
    },
    /// The bytes are not JSON.
    #[error("a frame is not JSON: {problem}; it begins {found:?}")]
    NotJson {
        /// The parser's words.
        problem: String,
        /// The frame's beginning.
        found: String,
    },
    /// The frame is not an object with one key.
    #[error("a frame is not an object with one key, its type; it begins {found:?}")]
    NotAnObject {
        /// The frame's beginning.
        found: String,
    },
    /// A type that this side does not know.
    #[error("unknown frame type {found:?}; known are {}", known.join(", "))]
    UnknownType {
        /// The type.
        found: String,
        /// The types of this direction.
        known: &'static [&'static str],
    },
    /// A known type with fields that are missing or not valid.
    #[error("frame {kind:?} is not valid: {problem}")]
    Invalid {
        /// The type.
        kind: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A known type that has no place here.
    #[error("frame {found:?} came where {wanted}")]
    Unexpected {
        /// The type.
        found: &'static str,
        /// What has a place here.
        wanted: &'static str,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame, after {have} of {want} bytes")]
    Truncated {
        /// Bytes that came.
        have: usize,
        /// Bytes announced, or of the header.
        want: usize,
    },
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The frame in `json`, which is one frame without its length.
pub fn decode<T: Frame>(json: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(json).map_err(|error| diagnose(json, T::TYPES, &error))
}

/// The bytes of a frame, its length before it.
pub fn encode<T: Frame>(frame: &T, max: usize) -> Result<Bytes, WireError> {
    let mut bytes = BytesMut::new();
    encode_into(&mut bytes, frame, max)?;
    Ok(bytes.freeze())
}

/// Appends the bytes of a frame; on an error `bytes` is as before.
pub(super) fn encode_into<T: Frame>(
    bytes: &mut BytesMut,
    frame: &T,
    max: usize,
) -> Result<(), WireError> {
    if bytes.capacity() == 0 {
        bytes.reserve(ROOM);
    }
    let start = bytes.len();
    bytes.put_u32(0);
    let written = serde_json::to_writer((&mut *bytes).writer(), frame);
    let length = bytes.len() - start - HEADER;
    if let Err(error) = written {
        bytes.truncate(start);
        return Err(WireError::Io(error.into()));
    }
    match u32::try_from(length) {
        Ok(header) if length <= max => {
            bytes[start..start + HEADER].copy_from_slice(&header.to_be_bytes());
            Ok(())
        }
        _ => {
            bytes.truncate(start);
            Err(WireError::TooLong { length, max })
        }
    }
}

/// The length of the frame that `buffer` begins with, once its header is there.
pub(super) fn length(buffer: &[u8], max: usize) -> Result<Option<usize>, WireError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    // A length that does not fit the address space is above every maximum.
    let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    if length == 0 || length > max {
        return Err(WireError::Length { length, max });
    }
    Ok(Some(length))
}

fn diagnose(json: &[u8], types: &'static [&'static str], error: &serde_json::Error) -> WireError {
    let found = shorten(&String::from_utf8_lossy(&json[..json.len().min(4 * SHOWN)]));
    if let Err(error) = serde_json::from_slice::<&RawValue>(json) {
        return WireError::NotJson { problem: shorten(&error.to_string()), found };
    }
    let Ok(OnlyKey(Some(key))) = serde_json::from_slice(json) else {
        return WireError::NotAnObject { found };
    };
    match types.iter().find(|kind| **kind == key) {
        Some(kind) => WireError::Invalid { kind, problem: shorten(&error.to_string()) },
        None => WireError::UnknownType { found: shorten(&key), known: types },
    }
}

pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The key of an object with one key; `None` for any other object.
struct OnlyKey(Option<String>);

impl<'de> Deserialize<'de> for OnlyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = OnlyKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one key")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<OnlyKey, M::Error> {
                let mut only = None;
                let mut keys = 0;
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    keys += 1;
                    only.get_or_insert(key);
                }
                Ok(OnlyKey(only.filter(|_| keys == 1)))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
