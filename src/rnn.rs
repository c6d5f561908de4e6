//! The story of a recurrent network over the operations.
