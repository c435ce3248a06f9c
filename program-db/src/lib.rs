//! The history of every run in one SQLite file. The only place with SQL.
//!
//! Rows are inserted once they are finished and never change: triggers see to that. Whatever a call has reported as
//! stored survives `kill -9` and a power cut. So resuming a run is reading its rows in order
//! ([`ProgramDb::replay`]) and telling them to search.
//!
//! The tables and views are described in `migrations/README.md`.

mod artifact;
mod changes;
mod comparison;
mod db;
mod decision;
mod descent;
mod error;
mod evaluation;
mod feed;
pub mod filter;
mod history;
mod import;
mod lesson;
mod outcome;
mod probe;
mod program;
mod proposal;
mod query;
mod record;
mod replay;
mod run;
mod run_lock;
mod sandbox;
mod schema;
mod session;
mod statement;
mod summary;
mod table;
mod trial;
pub mod view;
mod wish;

pub use artifact::Artifact;
pub use changes::Changes;
pub use comparison::{Comparison, NewComparison};
pub use db::ProgramDb;
pub use decision::Decision;
pub use descent::Descent;
pub use error::DbError;
pub use evaluation::{Evaluation, MeasuredBy, NewEvaluation};
pub use feed::{Change, FeedPlace, NoPlace, What};
pub use filter::{Filter, FilterError};
pub use history::{PastMeasurement, ReferenceTrial};
pub use import::ImportedProgram;
pub use lesson::{Lesson, LessonAttempt, NewLesson};
pub use program::{NewProgram, Program};
pub use proposal::{NewProposal, Proposal};
pub use query::SqlLimits;
pub use record::Record;
pub use replay::{Replay, Stored, StoredProgram};
pub use run::{NewRun, Run, RunId};
pub use run_lock::{RunHolder, RunLock};
pub use session::{Session, SessionId};
pub use summary::Summary;
pub use table::{Table, Value};
pub use trial::Trial;
pub use wish::Wish;
