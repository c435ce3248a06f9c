//! The program `evolve`: configuration, run loop, proposers, command line. `ARCHITECTURE.md` tells the main path.

pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dossier;
pub mod event;
pub mod exit_code;
pub mod lessons;
pub mod logging;
pub mod mcp;
pub mod operator;
pub mod patch;
pub mod pause;
pub mod pipeline;
pub mod plot;
pub mod privacy;
pub mod progress;
pub mod prompt;
pub mod proposer;
pub mod report;
pub mod run;
pub mod service;
mod text;
pub mod watch;
