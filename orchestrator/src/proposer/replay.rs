//! Stored replies instead of a model, for tests.
