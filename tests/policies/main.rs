//! The policy tables, a test for each cell: `catch_up` by what happened meanwhile, and `overlap`
//! by scope and by where the earlier delivery stands. The tables stand in the documentation of
//! the engine's modules `missed` and `overlap`; their rows are named as the tests are.
//!
//! Public interface only: inputs with times in, decisions out, the store read back.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic that shows the error")]

mod bench;
mod catch_up;
mod documented;
mod overlap;
