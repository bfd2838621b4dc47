//! The wire protocol, version 1: what a client and the server say to each other.
//!
//! Written so that a client in another language takes an afternoon. Promises: any bytes are
//! either frames, an incomplete frame, or an error that names what was found; nothing panics,
//! nothing is allocated for a length that is not allowed. Imports domain types only.
//!
//! # Frames
//!
//! A frame is a length, four bytes big-endian, then that many bytes of UTF-8: one JSON object
//! with exactly one key, the frame's type. The length counts the JSON alone. It is at least 1 and
//! at most [`MAX_FRAME`] unless the server's `welcome` tells another `max_frame`; a first frame is
//! at most [`MAX_HELLO`]. So a heartbeat is the bytes `00 00 00 10 {"heartbeat":{}}`.
//!
//! Fields that are not known are ignored, on both sides. A type that is not known is an error
//! and ends the connection. Fields marked *optional* may be absent. Times are RFC 3339 in UTC,
//! serials are ULIDs, `params` and `result` are any JSON value and pass through as the text they
//! came as.
//!
//! # A connection
//!
//! ```text
//! client                                  server
//!   hello  ─────────────────────────────►
//!          ◄─────────────────────────────  welcome, or refused and the end
//!          ◄─────────────────────────────  command
//!   accepted  ──────────────────────────►  at once, before the command is run
//!   response  ──────────────────────────►  when it has ended
//!          ◄─────────────────────────────  ack, once the response is durable
//! ```
//!
//! A side that has sent nothing for `heartbeat_ms` sends a heartbeat, the server half that time
//! earlier if it has just got one; a side that has heard nothing for three times `heartbeat_ms` ends
//! the connection. Either side may say `bye` and close. The server sends at most 256 commands that are not yet answered, the last 16 of them urgent
//! ones.
//!
//! **Once in effect.** A client keeps each serial it has taken until its response is
//! acknowledged. `hello.taken` lists them; after `welcome` the client sends the responses that
//! are not acknowledged once more. A command whose serial the client already has is not run
//! again: if it has ended, its response is sent again, if it is running, its `accepted`. A client
//! that keeps this on disk keeps the promise over its own crash too; one that has forgotten a
//! serial gets it again.
//!
//! **Attempts.** A command that failed may come again under its serial with a higher `attempt`;
//! absent, it is 1. That is a command of its own, for which the same holds: what the client says
//! of it has its `attempt`, and an earlier attempt that still runs is stopped first. `attempts` in
//! `hello` and `ack` gives those of the serials beside it that are not the first.
//!
//! # From the client
//!
//! `hello`: the first frame. `token` is optional; `taken` and `commands` are empty when absent.
//! `facts` is optional: what the client says of itself, kept by the server until it says something
//! else. Each of its fields is optional; `version`, `os`, `arch` and `hostname` are texts of at
//! most 256 bytes; `labels` has at most 32 keys of 1 to 64 characters `[a-z0-9._-]`, other than
//! those four, with values of at most 256 bytes. None of these texts has control characters. What
//! is too much or too long is `refused`.
//! ```json
//! {"hello":{"version":1,"client":"web-01","token":"s3cret","taken":["01JD0000000000000000000001"],"commands":["disk.report"]}}
//! {"hello":{"version":1,"client":"web-01","taken":["01JD0000000000000000000001"],"attempts":{"01JD0000000000000000000001":2},"commands":[]}}
//! {"hello":{"version":1,"client":"web-01","taken":[],"commands":[],"facts":{"version":"1.4.0","os":"linux","arch":"x86_64","hostname":"web-01.example","labels":{"rack":"r7"}}}}
//! ```
//! `accepted`: the command is taken and will be run. A command that a connected client has not
//! accepted in time ends as `timed_out`.
//! ```json
//! {"accepted":{"serial":"01JD0000000000000000000001"}}
//! {"accepted":{"serial":"01JD0000000000000000000001","attempt":2}}
//! ```
//! `started`: a command with a `timeout_ms` has begun to run; sent again after each `welcome`
//! while it runs. The server counts its time from then on.
//! ```json
//! {"started":{"serial":"01JD0000000000000000000001"}}
//! ```
//! `response`: the command has ended. `state` is `succeeded`, `failed`, `rejected` (the client
//! will not run it), `timed_out` or `cancelled`. `reason`, `result` and `ran_ms` are optional.
//! ```json
//! {"response":{"serial":"01JD0000000000000000000001","state":"succeeded","result":{"free":0.25},"ran_ms":12}}
//! {"response":{"serial":"01JD0000000000000000000001","state":"failed","reason":"disk /data is gone","ran_ms":7}}
//! ```
//! `progress`: how far a running command is; only where the `welcome` asked with `live`. `percent`
//! is 0 to 100, `note` at most 500 bytes, both optional.
//! ```json
//! {"progress":{"serial":"01JD0000000000000000000001","percent":40,"note":"copying"}}
//! {"progress":{"serial":"01JD0000000000000000000001","attempt":2,"note":"copying"}}
//! ```
//! `output`: a piece of what a running command prints, likewise. `stream` is `stdout` or `stderr`,
//! `text` at most 16 KiB; `offset` is how many bytes of that stream were before it. `dropped`, if
//! given, is how many of them were left out since the piece before. Neither is answered, and what
//! is said of a command that is not in flight on this connection is ignored. A client sends them
//! after all else, paced; what the server gets of a connection above 2 MiB or 512 frames a second
//! it leaves out.
//! ```json
//! {"output":{"serial":"01JD0000000000000000000001","stream":"stdout","offset":0,"text":"line 1\n"}}
//! {"output":{"serial":"01JD0000000000000000000001","attempt":2,"stream":"stderr","offset":900,"text":"…","dropped":300}}
//! ```
//! `call`: a command for the server. The client chooses `id`; the reply carries it.
//! ```json
//! {"call":{"id":7,"command":"config.get","params":{"key":"region"}}}
//! ```
//! `heartbeat`: the client is there.
//! ```json
//! {"heartbeat":{}}
//! ```
//! `stopping`: the client takes no more commands and ends those that it has; only where the
//! `welcome` has `stopping`. What it has not accepted before waits for its return.
//! ```json
//! {"stopping":{}}
//! ```
//! `bye`: the client ends the connection; nothing follows.
//! ```json
//! {"bye":{"reason":"stopping"}}
//! ```
//!
//! # From the server
//!
//! `welcome`: the client is in. `max_frame` is the largest length the server reads;
//! `server_time` is optional, and so is `live`: with true, the server wants `progress` and `output`.
//! `max_running` is optional: the client runs no more commands than that at once. `stopping` is
//! optional: with true, the server knows the frame of that name.
//! ```json
//! {"welcome":{"version":1,"heartbeat_ms":15000,"max_frame":1048576,"server_time":"2026-11-22T06:00:00.000Z"}}
//! {"welcome":{"version":1,"heartbeat_ms":15000,"max_frame":1048576,"live":true,"stopping":true}}
//! {"welcome":{"version":1,"heartbeat_ms":15000,"max_frame":1048576,"max_running":4}}
//! ```
//! `refused`: the client is not in; the connection ends. `retry_after_ms` is optional.
//! ```json
//! {"refused":{"reason":"client or token not known"}}
//! {"refused":{"reason":"10000 connections are open, the most allowed","retry_after_ms":5000}}
//! ```
//! `command`: run this. `job` is absent for a command that no job sent. `on_client_crash` is
//! optional: with `retry` a client that keeps a journal runs it again after its process ended
//! while it ran; without, or with `fail`, such a command ends as `failed`. After `timeout_ms`, if
//! given, the client ends the command and answers `timed_out`; 5 seconds later the server does.
//! `priority` is optional: `urgent`, `normal` (the default) or `low`. Of the commands that wait at
//! the client, those of the highest class begin first, and within a class by their serials.
//! `per_client` is optional: so many commands of the job run at once, at most.
//! ```json
//! {"command":{"serial":"01JD0000000000000000000001","command":"disk.report","params":{"path":"/"},"job":"disk/daily","scheduled_at":"2026-11-22T06:00:00.000Z","in_turn":true,"on_client_crash":"retry"}}
//! {"command":{"serial":"01JD0000000000000000000002","command":"host.uptime","params":{},"scheduled_at":"2026-11-22T06:00:00.000Z"}}
//! {"command":{"serial":"01JD0000000000000000000003","attempt":2,"command":"host.uptime","params":{},"scheduled_at":"2026-11-22T06:00:00.000Z","timeout_ms":60000}}
//! {"command":{"serial":"01JD0000000000000000000004","command":"host.stop","params":{},"scheduled_at":"2026-11-22T06:00:00.000Z","priority":"urgent"}}
//! {"command":{"serial":"01JD0000000000000000000005","command":"disk.report","params":{},"job":"disk/daily","scheduled_at":"2026-11-22T06:00:00.000Z","per_client":2}}
//! ```
//! `ack`: the responses of these serials are durable; the client can forget them. It comes with
//! what is sent next to the client, or within 250 ms.
//! ```json
//! {"ack":{"serials":["01JD0000000000000000000001","01JD0000000000000000000002"]}}
//! {"ack":{"serials":["01JD0000000000000000000001"],"attempts":{"01JD0000000000000000000001":2}}}
//! ```
//! `cancel`: stop this command if it has not ended; its response says how it ended.
//! ```json
//! {"cancel":{"serial":"01JD0000000000000000000001"}}
//! ```
//! `reply`: the answer to a `call`: `error`, or else `result`, which is null when absent.
//! ```json
//! {"reply":{"id":7,"result":"eu-west"}}
//! {"reply":{"id":8,"error":"no command named \"config.got\"; known are config.get"}}
//! ```
//! `heartbeat`: the server is there.
//! ```json
//! {"heartbeat":{}}
//! ```
//! `bye`: the server ends the connection. With `reconnect` false the client shall stay away:
//! another connection under its id has taken its place, or it was removed from the registry.
//! `retry_after_ms` is optional.
//! ```json
//! {"bye":{"reason":"another connection has taken this client's place","reconnect":false}}
//! {"bye":{"reason":"the server stops","reconnect":true,"retry_after_ms":1000}}
//! ```

mod codec;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod stream;
#[cfg(test)]
mod tests;

pub use codec::{WireError, decode, encode};
pub use frame::{
    Accepted, Ack, Call, Cancel, ClientBye, ClientFrame, CommandFrame, Empty, Frame, Hello,
    OutputFrame, ProgressFrame, Refused, ReplyFrame, ResponseFrame, ServerBye, ServerFrame,
    Started, Welcome, apart, together,
};
pub use stream::{FrameReader, FrameWriter};

/// The version of the protocol that this library speaks.
pub const VERSION: u32 = 1;

/// The longest frame, in bytes of JSON, unless configured otherwise.
pub const MAX_FRAME: usize = 1024 * 1024;

/// The longest first frame: enough for a client with 4,096 commands taken.
pub const MAX_HELLO: usize = 256 * 1024;

/// Silent intervals after which the other side is given up.
pub const SILENT_INTERVALS: u32 = 3;

/// Bytes of the length before each frame.
pub const HEADER: usize = 4;
