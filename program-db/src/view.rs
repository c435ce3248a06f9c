//! What pages, the terminal and reports show of a run: each call answers one question, in little time also over 100 000 programs.
//!
//! Calls over a whole run read indexes only (`migrations/0008_views.sql`), and thin out in SQL what nobody could see as single points.
//! None holds a transaction open for longer than its one statement.

mod ancestors;
mod failures;
mod listing;
mod makers;
mod series;
mod steady;
mod told;
mod tree;

pub use ancestors::Ancestor;
pub use failures::FailureKind;
pub use listing::{Listed, Listing, Order, Place};
pub use makers::Maker;
pub use series::{Bucket, Series, Step};
pub use steady::DeviceTrace;
pub use told::Told;
pub use tree::{Tree, TreeNode};
