//! The keys of the state.
