//! What becomes of events and panics.
