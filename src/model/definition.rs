//! What a graph has come to: layers in the order in which they were added, their parameters, losses and outputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::ModelLayout;
use crate::nn::{Layer, NodeShape};

/// A layer's output in a [`Graph`](super::Graph).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    pub(super) graph: u64,
    pub(super) layer: usize,
    pub(super) output: usize,
}

/// A layer with its place in a graph.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Of its parameters, or of an input.
    pub(super) name: String,
    pub(super) layer: Arc<dyn Layer>,
    /// Layer and output of each input.
    pub(super) inputs: Vec<(usize, usize)>,
    /// Numbers in the layout.
    pub(super) parameters: Vec<usize>,
    pub(super) outputs: Vec<NodeShape>,
    /// Whether the host gives its values.
    pub(super) is_input: bool,
}

/// A graph without what it needs to grow.
#[derive(Debug)]
pub(super) struct Definition {
    /// Tells its nodes from another graph's.
    pub(super) id: u64,
    /// Names of the time axes.
    pub(super) axes: Vec<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) layout: ModelLayout,
    /// Losses and what they are multiplied by.
    pub(super) minimized: Vec<(usize, f32)>,
    pub(super) results: Vec<(String, Node)>,
}

impl Definition {
    /// An empty one.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            axes: Vec::new(),
            entries: Vec::new(),
            layout: ModelLayout::default(),
            minimized: Vec::new(),
            results: Vec::new(),
        }
    }
}
