//! What it takes to load a program, beside the context: pipelines that were made, choices that were measured.

use std::sync::Arc;

use super::choice::Choices;
use super::context::Context;
use super::pipeline::PipelineCache;

/// One for each device.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) context: Arc<Context>,
    pub(crate) pipelines: PipelineCache,
    /// What was measured of recurrences.
    pub(crate) choices: Choices,
}
