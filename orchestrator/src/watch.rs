//! A run on a terminal, for people at the far end of an ssh connection: `evolve watch`.
//!
//! It reads the database and nothing else, so it shows runs of any process and can't disturb them: it looks for changes by
//! `PRAGMA data_version`, and reads as seldom as [`pace`] says. [`State`] and [`view`] are pure; `commands/watch.rs` does what they ask for.

pub mod detail;
mod islands;
pub mod pace;
mod read;
pub mod state;
pub mod status;
pub mod terminal;
pub mod view;

pub use self::detail::Detail;
pub use self::read::Reader;
pub(crate) use self::read::now;
pub use self::state::{Effect, Event, State};
pub use self::status::Status;
