//! Small measurements of single parts: what the engine decides in a second, what frames cost to
//! write and to read, what a commit of few operations takes.
//!
//! `cargo bench --bench micro`. No targets: they tell which part has changed when a figure of
//! `fleet` has. Imports the library's public interface only.

#![allow(clippy::unwrap_used, reason = "a measurement, run by hand: it fails by a panic")]

mod engine;
mod store;
mod wire;

fn main() {
    divan::main();
}
