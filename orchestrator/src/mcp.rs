//! What coding agents may ask of a database and its runs: the Model Context Protocol over standard input and output.
//!
//! Every answer is bounded and says how to get the rest. Texts of programs, models and compilers are data from strangers: they come between two
//! marks with a number that their authors couldn't know ([`answer`]), and the server's instructions say what that means. What may be started is
//! what `service::runner` lets through: configurations in folders that the user named, nothing that a request says.

pub mod answer;
mod arguments;
mod control;
mod programs;
mod runs;
mod server;

pub use self::server::Server;
