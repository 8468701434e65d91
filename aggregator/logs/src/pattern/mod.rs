//! Groups messages by the text of the program that wrote them.
//!
//! A message's pattern is found from the message alone: its words, with [`WILDCARD`] for each run of values. So the
//! same message gives the same pattern, and the same `pattern_hash` (the MD5 of the pattern's text in hexadecimal), on
//! every node, after every restart and in any order. What came before matters only in `siblings`: when many patterns
//! differ in one word, that word is taken for a name.
//!
//! A word is a value or not by rules that hold for any program, because they follow from how people write messages:
//! - Digits, addresses, paths, URLs, hexadecimal strings, dates and quantities with their units are values (`shape`).
//! - Authors mark values: with quotes, and as `key=value`. Quoted sentences stay text.
//! - Punctuation, colours, indented detail lines and the length of a list do not tell messages apart.
//! - What is a name only by its place or spelling ("user bob", "for bob from 192.0.2.1", "db.example", "eth0",
//!   "node-[1-3]") is a variable only in a message with two other words to know it by: short messages are told apart by
//!   every word they have.
//! - Every other word is text, also when it is rare: a word list of one system would split or merge another's messages.
//!   The words that the rules do know (`vocabulary`) are those of the calendar, of measurement, of English grammar
//!   and for an account.
//!
//! Limits: a plain word in a place that nothing marks ("deleting volume backups") makes a pattern of its own until
//! enough of its kind were seen; states that look like numbers ("status 500") are values.

mod class;
mod escape;
mod extent;
mod hash;
mod lexer;
mod memory;
mod miner;
mod render;
mod shape;
mod siblings;
mod token;
mod vocabulary;

pub(crate) use escape::{ESCAPE, escape_sequence_end};
pub use hash::PatternHash;
pub use miner::{Miner, MinerLimits, Pattern, PatternId};
pub use render::WILDCARD;
