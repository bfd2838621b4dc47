//! Connections as a whole: the server against raw frames, and client and server together, over
//! pipes in memory with paused time, and a stand-in for the node.

#![expect(clippy::unwrap_used, reason = "a test that meets an error it did not expect fails")]

mod acks;
mod admission;
mod first_read;
mod fleet;
mod journal;
mod limits;
mod live;
mod pair;
mod raw;
mod tcp;
